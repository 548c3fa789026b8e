# SPDX-License-Identifier: Apache-2.0
"""What a report says of a model's arithmetic: drawing, verification, errors of its layers, attention."""

from __future__ import annotations

from contextlib import suppress

from hls4attn.host.report.boxes import shape_text, short_format
from hls4attn.host.report.content import Block, Column, Facts, Note, Picture, Section, Table, Tile, columns_of
from hls4attn.host.report.ladder import Verification
from hls4attn.models.errors import ToolError
from hls4attn.models.export.execute import Reference
from hls4attn.models.export.graph import Constant, Graph
from hls4attn.models.formats import Codes

#: Samples that errors and row sums are taken over, and whose attention is drawn.
TYPICAL, DRAWN = 64, 2
_HERE, _NOTHING = "this machine", "no stage was compared"
#: What each stage of the ladder computes with.
_COMPUTES = {
    "keras": "the trained Keras layers",
    "onnx": "the file, by this package's reader",
    "qonnx": "the file, node by node in qonnx",
    "onnxruntime": "the file, in a stock onnxruntime",
    "csim": "the C++ kernels, compiled",
    "rtl": "the Verilog, simulated",
    "netlist": "what Yosys makes of the Verilog",
    "board": "the overlay, through PYNQ's classes",
}
_FORMATS = "Shapes are without the batch dimension; formats are fixed<bits, bits of fraction>, half to even, limited."


def model_section(graph: Graph) -> Section:
    """The drawing, and every tensor with its format."""
    from hls4attn.host.report.drawing import model_svg

    constants = [t for t in graph.tensors.values() if isinstance(t, Constant)]
    bits = sum(t.codes.size * t.format.width for t in constants)
    operators = [s.op_type for n in graph.nodes if (s := n.spec or n.context or n.norm or n.cells) is not None]
    counts = ", ".join(f"{operators.count(name)} x {name}" for name in dict.fromkeys(operators))
    facts = Facts((
        ("Input", f"{shape_text(graph.input.shape)} in {short_format(graph.input.format)}"),
        ("Output", f"{shape_text(graph.output.shape)} in {short_format(graph.output.format)}"),
        ("Nodes", f"{len(graph.nodes)}, of them {counts or 'no operator of this package'}"),
        ("Constants", f"{sum(t.codes.size for t in constants):,} values, {bits:,} bits"),
    ))  # fmt: skip
    rows = ((graph.input.name, "", graph.input), *((n.output, n.op, graph.tensors[n.output]) for n in graph.nodes))
    table = Table(
        "Every tensor with its format",
        columns_of(("tensor", "made by", "shape", "format"), ("bits",)),
        tuple((name, op, shape_text(t.shape), short_format(t.format), str(t.format.width)) for name, op, t in rows),
        sortable=True, folded=True, note=_FORMATS,
    )  # fmt: skip
    words = "Nodes by layer, from the input; edges carry the shape and the exact fixed-point format of their tensor."
    drawn = Picture.of_svg("model", "The integer graph", model_svg(graph), words, boxed=True)
    return Section("model", "Model", (facts, drawn, table))


def verification_section(found: Verification | None, reason: str) -> tuple[Section, list[Tile]]:
    """The ladder.

    Args:
        found: what was climbed; None if nothing was.
        reason: why nothing was.
    """
    if found is None:
        tile = Tile("Mismatches", "not verified", reason)
        return Section("verification", "Verification", (Note(f"Not verified: {reason}.", "why"),)), [tile]
    done = [r for r in found.rungs if not r["mismatches"]]
    where = (
        f"taken from {found.taken}, climbed on {found.when}"
        if found.taken
        else f"climbed for this report, {found.when}"
    )
    lead = Note(
        "Every stage computes the same samples, slow stages the first of them, and is compared with the integer "
        f"reference, for equality: {found.described}; {where}."
    )
    blocks: list[Block] = [lead]
    if found.wrong:
        blocks.append(Note(f"Not equal: {', '.join(found.wrong)}.", "bad"))
    elif found.rungs:
        words = "stage equals" if len(done) == 1 else "stages equal"
        blocks.append(Note(f"{len(done)} {words} the reference in every sample computed.", "good"))
    else:
        blocks.append(Note(f"Not verified: {_NOTHING}.", "why"))
    rows = tuple(
        (
            r["stage"], _COMPUTES.get(r["stage"], ""), r["against"], f"{r['mismatches']}/{r['samples']}",
            f"{r['seconds']:.1f}", r["device"] or _HERE,
        )
        for r in found.rungs
    )  # fmt: skip
    columns = (*columns_of(("stage", "what computes", "compared with"), ("mismatches", "seconds")), Column("ran on"))
    tones = tuple("bad" if r["mismatches"] else "good" for r in found.rungs)
    note = "Seconds are of this machine's simulation, not of any hardware; an emulated board has no time."
    blocks.append(Table("Stages", columns, rows, tones, note=note))
    blocks += [Note(f"{r['stage']}: {r['first']}.", "bad") for r in found.rungs if "first" in r]
    blocks += [Note(f"{name} stopped: {text}", "bad") for name, text in found.failed.items()]
    blocks += [Note(f"{name} was not compared: {text}.", "why") for name, text in found.absent.items()]
    wrong = sum(int(r["mismatches"]) for r in found.rungs)
    if not found.rungs and not found.failed:
        return Section("verification", "Verification", tuple(blocks)), [Tile("Mismatches", "not verified", _NOTHING)]
    value = "stopped" if found.failed else f"{wrong:,}"
    words = f"{len(found.rungs)} stages, {_samples(found)}"
    tile = Tile("Mismatches", value, words, "bad" if found.wrong else "good")
    return Section("verification", "Verification", tuple(blocks)), [tile]


def _samples(found: Verification) -> str:
    """How many samples each stage had: slow ones have fewer."""
    counts = sorted({int(r["samples"]) for r in found.rungs})
    if len(counts) < 2:
        return f"{counts[0] if counts else 0:,} samples each"
    fewer = ", ".join(f"{r['stage']} {r['samples']:,}" for r in found.rungs if r["samples"] < counts[-1])
    return f"{counts[-1]:,} samples ({fewer})"


def typical_codes(graph: Graph, samples: int, seed: int) -> tuple[Codes, str]:
    """Input codes as the model meets them, and what they are: none but the zoo's inputs where these are known.

    Random codes beside them would be in every mean, and stand for nothing that the model ever sees.
    """
    from hls4attn.host.samples import CORNERS, known_inputs, verification_codes

    with suppress(ToolError):  # the words of the random codes say why there is no test set
        known, kind = known_inputs(graph, samples, seed)
        if len(known):
            return known, f"{len(known)} {kind} samples"
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
        (e.tensor, e.op, short_format(e.format), f"{e.own.largest:.2f}", f"{e.own.rms:.3f}", _db(e.own.sqnr_db),
         f"{e.grown.rms:.3f}",
         f"{e.grown.rms_real:.4g}", _db(e.grown.sqnr_db), f"{100 * e.limited / e.elements:.2f}")
        for e in errors
    )  # fmt: skip
    numbers = (
        "own, largest", "own, rms", "own SQNR, dB", "grown, rms", "grown, rms real", "grown SQNR, dB", "at a limit, %"
    )  # fmt: skip
    lead = Note(
        "Integers against the same graph in real arithmetic, with the stored weights and the same limits, on "
        f"{words}. Own: of the layer's own integer operands, so what arises in it. Grown: of the model up to there. "
        "Errors are in output steps, of which a rounding takes at most half a one, unless they are called real. "
        "SQNR: power of the real values over that of the error."
    )
    words = (
        "Each layer that rounds or approximates, in execution order. At a limit: results at an end of their range, "
        "which the real arithmetic has, too; with unsigned formats this is the rectifier."
    )
    figure = Picture.of_svg("errors", "Error of each layer", figure_layer_errors(errors), words)
    columns = columns_of(("tensor", "operator", "format"), numbers)
    table = Table("Errors in output steps", columns, rows, sortable=True, folded=len(rows) > 12)
    last = errors[-1]
    words = f"{last.tensor}: signal to quantisation noise, against real arithmetic"
    tiles = [] if last.grown.sqnr_db is None else [Tile("SQNR, last layer", f"{last.grown.sqnr_db:.1f} dB", words)]
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
    words_of_maps = "A map for each head, block below block; the maps beside each other have one scale."
    pictures = [
        Picture.of_svg(f"attention-{n}", f"Sample {n}", figure_attention(graph, trace, n), words_of_maps)
        for n in range(min(DRAWN, len(codes)))
    ]
    lead = Note(f"What each query attends to, as the integers have it, on the first of {words}.")
    rows = tuple(
        (m.node, m.what, f"{m.row_sums.min():.3f}", f"{m.row_sums.mean():.3f}", f"{m.row_sums.max():.3f}",
         "none: it does not normalise" if m.exact_sum is None else f"{m.exact_sum:g}",
         "not defined" if m.gain is None else f"{m.gain:.4f}")
        for m in maps
    )  # fmt: skip
    numbers = ("smallest sum", "mean sum", "largest sum")
    columns = (*columns_of(("node", "a weight is"), numbers), *columns_of(("exact sum",), ("gain",)))
    gains = (
        f"Sums over the keys, of {words}. Gain: the integers' sums over those of the real function, which has no "
        "limits; 1 is no bias."
    )
    if any(m.exact_sum is None for m in maps):
        gains += " ConSmax and gain cells do not normalise: a sum other than 1 is no error of theirs."
    drawn = figure_row_sums(graph, trace)
    histogram = Picture.of_svg("row-sums", "Row sums by block", drawn, "How many rows, of all heads, have which sum.")
    return [
        Section("attention", "Attention", (lead, *pictures)),
        Section("row-sums", "Row sums", (Note(gains), histogram, Table("By node", columns, rows))),
    ]
