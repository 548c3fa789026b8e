# SPDX-License-Identifier: Apache-2.0
"""What `run` does: a batch through the board."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from hls4attn.host.connect import chosen_board, chosen_model
from hls4attn.host.flow import Flow
from hls4attn.host.paths import check_output, read_npy
from hls4attn.host.verbs.common import hls_settings, tell_reuse, working
from hls4attn.models.errors import InputError, UnsupportedError
from hls4attn.models.export.execute import Reference, quantise_input
from hls4attn.models.export.keras_stage import KEY_MODEL
from hls4attn.models.files import atomic_write, write_json
from hls4attn.models.formats import MAX_WIDTH, Codes, Fixed


def run(
    out: Console,
    err: Console,
    path: Path,
    board: str | None,
    data: Path | None,
    result: Path | None,
    json: Path | None,
    choices: Mapping[str, Any] | None = None,
    rtl: bool = False,
) -> None:
    """Run a batch on the board; with `rtl` on an emulated one that runs the Verilog."""
    check_output(result, inputs=[path, data])
    check_output(json, inputs=[path, data, result])
    board = chosen_board(board)
    wants_rtl = rtl or chosen_model() == "rtl"
    settings, fitted = hls_settings(board, choices=choices, rtl=wants_rtl)
    flow = Flow.open(path, board=board, config=settings, fitted=fitted)
    flow = flow.where_rtl(choices or {}) if wants_rtl else flow
    if rtl and flow.no_rtl is not None:
        raise UnsupportedError(f"{path.name}: {flow.no_rtl}; leave out --rtl")
    batch, labels = _batch(flow, data)
    codes = quantise_input(flow.graph, batch)
    clipped = _clipped(flow.graph.input.format, batch, codes)
    with working(err, "loading the overlay") as tell, flow.on_board("rtl" if rtl else None) as overlay:
        tell("running")
        values = overlay.model.predict(batch)
        tag, samples = overlay.model.device_tag, overlay.model.samples
        cycles, cycles_are = overlay.model.cycles, overlay.model.cycles_are
        saturated = Reference(flow.graph).saturations(codes)
    summary: dict[str, Any] = {"model": path.name, "device": tag, "samples": len(batch), "counter": samples}
    if wants_rtl:
        tell_reuse(out, flow)
    out.print(f"{path.name} on {tag}: {len(batch)} samples (the IP counted {samples})", soft_wrap=True, markup=False)
    if cycles is not None:
        out.print(f"cycles: {cycles:,}, {cycles_are}", highlight=False, markup=False)
    summary |= {"cycles": cycles, "cycles_are": cycles_are}
    if clipped:
        out.print(f"input: {clipped} of {codes.size} values clipped to the input format", markup=False)
    summary["clipped"] = clipped
    for name, (count, total) in saturated.items():
        out.print(f"{name}: {count} of {total} results saturate", highlight=False, markup=False)
    summary["saturated"] = {name: count for name, (count, _) in saturated.items()}
    if labels is not None:
        accuracy = float(np.mean(np.argmax(values, axis=1) == labels))
        summary["accuracy"] = accuracy
        out.print(f"accuracy: {accuracy:.2%} of {len(labels)} test images", markup=False)
    if result:
        import io

        buffer = io.BytesIO()
        np.save(buffer, values, allow_pickle=False)
        atomic_write(result, buffer.getvalue())
        out.print(f"written: {result}", soft_wrap=True, markup=False)
    if json:
        write_json(json, summary)


def _clipped(fmt: Fixed, values: Any, codes: Codes) -> int:
    """How many real values are beyond the format: those that a wider one rounds to another code."""
    wide = replace(fmt, width=MAX_WIDTH, signed=True, overflow="saturate")
    return int(np.count_nonzero(wide.quantise(values) != codes))


def _batch(flow: Flow, data: Path | None) -> tuple[Any, Any]:
    """The batch to run and, for a zoo model's test set, its labels."""
    if data is not None:
        batch = read_npy(data)
        if batch.dtype.kind in "iub":  # which could as well be meant as codes
            raise InputError(
                f"{data} holds {batch.dtype}; --input takes real values: np.save({data.name!r}, x.astype(np.float32))"
            )
        return batch, None
    from hls4attn.models.zoo import zoo_model
    from hls4attn.models.zoo.registry import GPT

    name = flow.graph.metadata.get(KEY_MODEL)
    if not name or name == GPT:
        raise InputError("This model brings no test set; give a batch with --input FILE.npy")
    digits = zoo_model(name).load_data()
    return digits.x_test, digits.y_test
