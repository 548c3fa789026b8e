# SPDX-License-Identifier: Apache-2.0
"""What `import` does: a foreign ONNX file in this package's dialect, with every change and the distance printed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hls4attn.host.paths import check_output, read_npy
from hls4attn.host.verbs.common import working
from hls4attn.models.errors import UnsupportedError
from hls4attn.models.files import write_json
from hls4attn.models.foreign.choices import Imported

KEY_SOURCE = "hls4attn.import.source"
KEY_SOURCE_HASH = "hls4attn.import.source_sha256"


def import_file(
    out: Console,
    err: Console,
    source: Path,
    target: Path,
    calibration: Path | None,
    json: Path | None,
    choices: dict[str, Any],
) -> None:
    """Import a file, write the new one, print what changed and how far it is from the original.

    Raises:
        UnsupportedError: naming the node that has no integer twin; nothing is written then.
    """
    if source.suffix in (".keras", ".h5", ".npz"):
        raise UnsupportedError(
            f"{source}: import takes ONNX files. A QKeras model: hls4attn export FILE.keras OUT.onnx; a float one: "
            "hls4attn quantise FILE.keras OUT.onnx --calibration DATA.npy"
        )
    check_output(target, ".onnx", [source, calibration, json])
    check_output(json, inputs=[source, calibration])
    data = None if calibration is None else read_npy(calibration)
    from hls4attn.models.export.builder import save_model
    from hls4attn.models.export.reader import load_model
    from hls4attn.models.foreign import ImportChoices, import_model

    asked = ImportChoices(calibration=data, **choices)
    with working(err, "importing"):
        model = load_model(source)
        digest = hashlib.sha256(source.read_bytes()).hexdigest()
        found = import_model(model, asked, {KEY_SOURCE: source.name, KEY_SOURCE_HASH: digest})
        save_model(found.model, target)
    _print(out, source, target, found)
    if json is not None:
        write_json(
            json,
            {
                "source": source.name,
                "source_sha256": digest,
                "target": target.name,
                "choices": {name: getattr(asked, name) for name in ("softmax", "layernorm", "scales")},
                "calibrated": data is not None,
                "changes": [c.to_json() for c in found.changes],
                "distance": found.distance.to_json(),
                **found.statistics,
            },
        )


def _print(out: Console, source: Path, target: Path, found: Imported) -> None:
    table = Table(
        "node", "operator", "became", "same numbers", title=f"{source.name}: what changed", title_justify="left"
    )
    for change in found.changes:
        cells = (change.node, change.op, change.became, "yes" if change.exact else "no")
        table.add_row(*(Text(cell, overflow="fold") for cell in cells))
    out.print(table)
    checked, equal = (found.statistics[f"tensors_{name}"] for name in ("checked", "equal"))
    bits = f"; {equal} before the first softmax or norm are equal bit by bit" if equal else ""
    out.print(
        f"translation: {checked} tensors compared with the file in onnxruntime, operators as float functions{bits}",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )
    out.print(
        f"distance of the integer model to the file: {found.distance}", soft_wrap=True, markup=False, highlight=False
    )
    out.print(f"written: {target}", soft_wrap=True, markup=False)
