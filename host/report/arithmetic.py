# SPDX-License-Identifier: Apache-2.0
"""What a report says of a model's arithmetic: drawing, verification, errors of its layers, attention, accuracy."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from hls4attn.host.report.content import Block, Column, Facts, Note, Picture, Section, Table, Tile
from hls4attn.host.report.ladder import Verification
from hls4attn.models.errors import Hls4attnError, InputError, ModelFileError
from hls4attn.models.export.execute import Reference, quantise_input
from hls4attn.models.export.graph import Constant, Graph
from hls4attn.models.export.keras_stage import KEY_MODEL, KEY_SCORE
from hls4attn.models.formats import Codes, Fixed

#: Samples that errors and row sums are taken over, and whose attention is drawn.
TYPICAL, DRAWN = 64, 2
_HERE = "this machine"
_FORMATS = "Shapes are without the batch dimension; formats are fixed<bits, bits of fraction>, half to even, limited."
#: How formats round and limit unless they say so.
USUAL = ",half_even,saturate"
#: Width of a drawing up to which two stand side by side.
HALF = 420


def svg(name: str, title: str, drawn: str, text: str, scrolls: bool = False) -> Picture:
    """A picture of this package, which follows the page's colours."""
    box = re.search(r'viewBox="[-\d.]+ [-\d.]+ ([\d.]+)', drawn)
    half = box is not None and float(box.group(1)) <= HALF
    return Picture(
        name, title, "svg", drawn.encode(), text, own_colours=True, scrolls=scrolls, half=half and not scrolls
    )


def model_section(graph: Graph) -> Section:
    """The drawing, and every tensor with its format."""
    from hls4attn.host.report.drawing import model_svg

    constants = [t for t in graph.tensors.values() if isinstance(t, Constant)]
    bits = sum(t.codes.size * t.format.width for t in constants)
    operators = [s.op_type for n in graph.nodes if (s := n.spec or n.context or n.norm or n.cells) is not None]
    counts = ", ".join(f"{operators.count(name)} x {name}" for name in dict.fromkeys(operators))
    facts = Facts((
        ("Input", f"{_shape(graph.input.shape)} in {short(graph.input.format)}"),
        ("Output", f"{_shape(graph.output.shape)} in {short(graph.output.format)}"),
        ("Nodes", f"{len(graph.nodes)}, of them {counts or 'no operator of this package'}"),
        ("Constants", f"{sum(t.codes.size for t in constants):,} values, {bits:,} bits"),
    ))  # fmt: skip
    rows = ((graph.input.name, "", graph.input), *((n.output, n.op, graph.tensors[n.output]) for n in graph.nodes))
    table = Table(
        "Every tensor with its format",
        (Column("tensor"), Column("made by"), Column("shape"), Column("format"), Column("bits", True)),
        tuple((name, op, _shape(t.shape), short(t.format), str(t.format.width)) for name, op, t in rows),
        sortable=True, folded=True, note=_FORMATS,
    )  # fmt: skip
    words = "Nodes by layer, from the input; edges carry the shape and the exact fixed-point format of their tensor."
    return Section("model", "Model", (facts, svg("model", "The integer graph", model_svg(graph), words, True), table))


def short(fmt: Fixed) -> str:
    """A format as a drawing has it; what it does at its ends is said only where it is unusual."""
    text = str(fmt)
    return text.replace(USUAL, "") if USUAL in text else text


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "scalar"


def verification_section(found: Verification | None, reason: str) -> tuple[Section, list[Tile]]:
    """The ladder.

    Args:
        found: what was climbed; None if nothing was.
        reason: why nothing was.
    """
    if found is None:
        return Section("verification", "Verification", (Note(f"Not verified: {reason}", "why"),)), []
    done = [r for r in found.rungs if not r["mismatches"]]
    where = (
        f"taken from {found.taken}, climbed on {found.when}"
        if found.taken
        else f"climbed for this report, {found.when}"
    )
    lead = Note(
        "Every stage computes the same samples and is compared with the integer reference, for equality: "
        f"{found.described}; {where}."
    )
    blocks: list[Block] = [lead]
    if found.wrong:
        blocks.append(Note(f"Not equal: {', '.join(found.wrong)}.", "bad"))
    elif found.rungs:
        blocks.append(Note(f"{len(done)} stages equal the reference in every sample.", "good"))
    rows = tuple(
        (r["stage"], r["against"], f"{r['mismatches']}/{r['samples']}", f"{r['seconds']:.1f}", r["device"] or _HERE)
        for r in found.rungs
    )  # fmt: skip
    columns = (
        Column("stage"),
        Column("compared with"),
        Column("mismatches", True),
        Column("s", True),
        Column("ran on"),
    )
    tones = tuple("bad" if r["mismatches"] else "good" for r in found.rungs)
    note = "Seconds are of this machine's simulation, not of any hardware; an emulated board has no time."
    blocks.append(Table("Stages", columns, rows, tones, note=note))
    blocks += [Note(f"{r['stage']}: {r['first']}.", "bad") for r in found.rungs if "first" in r]
    blocks += [Note(f"{name} stopped: {text}", "bad") for name, text in found.failed.items()]
    blocks += [Note(f"{name} was not compared: {text}.", "why") for name, text in found.absent.items()]
    wrong = sum(int(r["mismatches"]) for r in found.rungs)
    value = "stopped" if found.failed else f"{wrong:,}"
    words = f"{len(found.rungs)} stages, {found.samples:,} samples"
    tile = Tile("Mismatches", value, words, "bad" if found.wrong else "good")
    return Section("verification", "Verification", tuple(blocks)), [tile]


def typical_codes(graph: Graph, samples: int, seed: int) -> tuple[Codes, str]:
    """Input codes as the model meets them: of the zoo's inputs where they are known, else random."""
    from hls4attn.host.samples import CORNERS, verification_codes

    codes, words = verification_codes(graph, samples + CORNERS, seed)
    return codes[CORNERS:], words.split(" + ", 1)[1]


def errors_section(graph: Graph, codes: Codes, words: str) -> tuple[Section, list[Tile]]:
    """How far each layer is from the real function."""
    from hls4attn.host.report.figures import figure_layer_errors, layer_errors

    errors = layer_errors(graph, codes)
    if not errors:
        text = "No node of this model rounds or approximates: its integers are the real function."
        return Section("errors", "Errors of the layers", (Note(text, "why"),)), []
    rows = tuple(
        (e.tensor, e.op, short(e.format), f"{e.own.largest:.2f}", f"{e.own.rms:.3f}", _db(e.own.sqnr_db),
         f"{e.grown.rms:.3f}",
         f"{e.grown.rms_real:.4g}", _db(e.grown.sqnr_db), f"{100 * e.limited / e.elements:.2f}")
        for e in errors
    )  # fmt: skip
    numbers = (
        "own, largest", "own, rms", "own SQNR, dB", "grown, rms", "grown, rms real", "grown SQNR, dB", "limited %"
    )  # fmt: skip
    columns = (Column("tensor"), Column("operator"), Column("format"), *(Column(n, True) for n in numbers))
    lead = Note(
        "Integers against the same graph in real arithmetic, with the stored weights and the same limits, on "
        f"{words}. Own: of the layer's own integer operands, so what arises in it. Grown: of the model up to there. "
        "Errors are in output steps, half a step being the best possible of a rounding, unless they are called real."
    )
    words = "Each layer that rounds or approximates, in execution order; limited: results at an end of their range."
    figure = svg("errors", "Error of each layer", figure_layer_errors(errors), words)
    table = Table("Errors", columns, rows, sortable=True, folded=len(rows) > 12)
    last = errors[-1].grown.sqnr_db
    tiles = (
        []
        if last is None
        else [Tile("Last layer", f"{last:.1f} dB", "signal to quantisation noise, against real arithmetic")]
    )
    return Section("errors", "Errors of the layers", (lead, figure, table)), tiles


def _db(value: float | None) -> str:
    return "no error" if value is None else f"{value:.1f}"


def attention_sections(graph: Graph, codes: Codes, words: str) -> list[Section]:
    """Heat maps, and what the rows sum to."""
    from hls4attn.host.report.attention import attention_maps
    from hls4attn.host.report.figures import figure_attention, figure_row_sums

    trace = Reference(graph).trace(codes)
    maps = attention_maps(graph, trace)
    if not maps:
        kinds = ", ".join(dict.fromkeys(n.op for n in graph.nodes))
        why = f"This model has no score function, context or gain cell, so nothing attends; its nodes are {kinds}."
        return [Section(k, t, (Note(why, "why"),)) for k, t in (("attention", "Attention"), ("row-sums", "Row sums"))]
    pictures = [
        svg(
            f"attention-{n}",
            f"Sample {n}",
            figure_attention(graph, trace, n),
            "A line a block, a map a head; one scale a line.",
        )
        for n in range(min(DRAWN, len(codes)))
    ]
    lead = Note(f"What each query attends to, as the integers have it, on the first of {words}.")
    rows = tuple(
        (m.node, m.what, f"{m.row_sums.min():.3f}", f"{m.row_sums.mean():.3f}", f"{m.row_sums.max():.3f}",
         "none: it does not normalise" if m.exact_sum is None else f"{m.exact_sum:g}",
         "not defined" if m.gain is None else f"{m.gain:.4f}")
        for m in maps
    )  # fmt: skip
    numbers = (Column("smallest", True), Column("mean", True), Column("largest", True))
    columns = (Column("node"), Column("a weight is"), *numbers, Column("exact sum"), Column("gain", True))
    gains = Note(
        f"Sums over the keys, of {words}. Gain: the integers' sums over those of the real function; 1 is no bias. "
        "ConSmax and gain cells do not normalise: a sum other than 1 is no error of theirs."
    )
    histogram = svg("row-sums", "Row sums by block", figure_row_sums(graph, trace), "Sums of all rows of all heads.")
    return [
        Section("attention", "Attention", (lead, *pictures)),
        Section("row-sums", "Row sums", (gains, histogram, Table("Row sums", columns, rows))),
    ]


def accuracy_section(graph: Graph, measured: str = "") -> tuple[Section, list[Tile]]:
    """Accuracy on the zoo's test set, and the committed one over seeds.

    Args:
        graph: the model.
        measured: what a board has reached, in words.
    """
    name, score = graph.metadata.get(KEY_MODEL, ""), graph.metadata.get(KEY_SCORE, "")
    blocks: list[Block] = []
    tiles: list[Tile] = []
    if name == "digits-vit":
        try:
            share, images = _digits(graph)
            blocks.append(Facts((("Integer reference", f"{share:.2%} of {images} test images"),)))
            tiles.append(Tile("Accuracy", f"{share:.2%}", f"{images} test images, integer reference"))
        except Hls4attnError as error:
            blocks.append(Note(f"The test set was not run: {error}", "why"))
    if measured:
        blocks.append(Note(measured))
    blocks += _committed(name, score)
    if not blocks:
        kind = f"{name}, which has none here" if name else "no model of the zoo"
        blocks.append(Note(f"No accuracy: there is no test set, because this is {kind}.", "why"))
    return Section("accuracy", "Accuracy", tuple(blocks)), tiles


def _digits(graph: Graph) -> tuple[float, int]:
    """Share of the test images that the reference reads right, and how many there are."""
    from hls4attn.models.zoo import zoo_model

    data = zoo_model("digits-vit").load_data()
    if graph.input.shape != data.x_test.shape[1:]:
        raise InputError(f"the model takes {_shape(graph.input.shape)}, the images are {_shape(data.x_test.shape[1:])}")
    codes = Reference(graph).run(quantise_input(graph, data.x_test))
    return float(np.mean(np.argmax(codes, axis=-1) == data.y_test)), len(data.y_test)


def _committed(name: str, score: str) -> list[Block]:
    """What training has left in the zoo, over several seeds."""
    from hls4attn.models import zoo

    folder = Path(zoo.__file__).parent
    if name == "char-gpt":
        found = _json(folder / "char_gpt" / "evidence.json")
        rows = tuple((r["name"], r["meaning"], f"{r['mean']:.3f}", f"{r['spread']:.3f}") for r in found["rows"])
        columns = (Column("model"), Column("what it is"), Column("loss", True), Column("spread", True))
        seeds = len(found["seeds"])
        note = f"Validation loss in nats a character of {found['text']}, {seeds} seeds, as committed; not run here."
        return [Table("Committed: the recipe's losses", columns, rows, note=note)]
    if name != "digits-vit":
        return []
    path = folder / "digits_vit" / f"{score}.json"
    if score.isidentifier() and path.is_file():
        found = _json(path)
        shares = {score: found}
    else:
        found = _json(folder / "digits_vit" / "sole.json")
        shares = found["summary"]
    recipes = tuple((k, f"{v['mean']:.2%}", f"{v['spread']:.2%}") for k, v in shares.items())
    titles = (Column("variant"), Column("mean", True), Column("spread", True))
    note = f"Over {len(found['seeds'])} seeds of the recipe, as committed; not run for this report."
    return [Table("Committed: the recipe's accuracies", titles, recipes, note=note)]


def _json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFileError(f"{path} is missing or damaged: {error}") from error
    return found
