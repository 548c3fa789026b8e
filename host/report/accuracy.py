# SPDX-License-Identifier: Apache-2.0
"""What a report says of a model's accuracy: on the zoo's test set, and what training has left in the zoo."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from hls4attn.host.report.boxes import shape_text
from hls4attn.host.report.content import Block, Facts, Note, Section, Table, Tile, columns_of
from hls4attn.models.errors import Hls4attnError, InputError, ModelFileError
from hls4attn.models.export.execute import Reference, quantise_input
from hls4attn.models.export.graph import Graph
from hls4attn.models.export.keras_stage import KEY_MODEL, KEY_SCORE

_KEPT = "Deviation: standard deviation. Kept with the model in the package; not trained for this report."


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
        raise InputError(
            f"the model takes {shape_text(graph.input.shape)}, the images are {shape_text(data.x_test.shape[1:])}"
        )
    codes = Reference(graph).run(quantise_input(graph, data.x_test))
    return float(np.mean(np.argmax(codes, axis=-1) == data.y_test)), len(data.y_test)


def _committed(name: str, score: str) -> list[Block]:
    """What training has left in the zoo, over several seeds."""
    from hls4attn.models import zoo

    folder = Path(zoo.__file__).parent
    if name == "char-gpt":
        found = _json(folder / "char_gpt" / "evidence.json")
        rows = tuple((r["name"], r["meaning"], f"{r['mean']:.3f}", f"{r['spread']:.3f}") for r in found["rows"])
        columns = columns_of(("model", "what it is"), ("mean loss, nats", "deviation"))
        seeds = len(found["seeds"])
        tones = tuple("good" if r["name"] == score else "" for r in found["rows"])
        note = f"Validation loss in nats a character of {found['text']} over {seeds} seeds. {_KEPT}"
        if "good" in tones:
            note = f"This model is the one called {score}. {note}"
        return [Table("Losses of the training recipe", columns, rows, tones, note=note)]
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
    note = f"On the test images, over {len(found['seeds'])} seeds. {_KEPT}"
    return [
        Table(
            "Accuracies of the training recipe",
            columns_of(("variant",), ("mean accuracy", "deviation")),
            recipes,
            note=note,
        )
    ]


def _json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFileError(f"{path} is missing or damaged: {error}") from error
    return found
