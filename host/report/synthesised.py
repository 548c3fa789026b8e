# SPDX-License-Identifier: Apache-2.0
"""What a report says of hardware that tools have synthesised: a build's reports, the operators' committed sizes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hls4attn.host.building.report import known_cycles, slacks, utilisation_rows
from hls4attn.host.report.content import Facts, Note, Section, Table, columns_of
from hls4attn.host.report.subject import BUILD
from hls4attn.models.errors import ModelFileError
from hls4attn.models.export.graph import Graph

#: Units of the committed bench that stand for an operator of a model.
_UNITS = {
    "ConSmax": "consmax",
    "ConSmaxSplit": "consmax-split",
    "E2Softmax": "e2softmax",
    "IntegerSoftmax": "softmax",
    "AILayerNorm": "ailayernorm",
    "IntegerLayerNorm": "layernorm",
    "GainCell": "gaincell",
}


def synthesis_section(record: Mapping[str, Any] | None, waiting: str, graph: Graph | None) -> Section:
    """What tools have synthesised: the build's reports, and the committed sizes of the model's operators.

    Args:
        record: content of ``build.json``; None without a finished build.
        waiting: why there is none.
        graph: the model, if there is one.

    Raises:
        ModelFileError: for a record whose figures are not what a build writes.
    """
    try:
        built = [Note(waiting, "why")] if record is None else _built(record)
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # it may come from anybody's archive
        raise ModelFileError(
            f"{BUILD}: its figures are damaged ({type(error).__name__}: {error}); build again"
        ) from error
    return Section("synthesis", "Synthesis", (*built, *(_units(graph) if graph else ())))


def _built(record: Mapping[str, Any]) -> list[Any]:
    """Tables of a build's reports, each with its tool."""
    clock, reports = record["clock_mhz"], record["reports"]
    tools = ", ".join(t["banner"] for t in record["tools"].values()) or "no tool"
    facts = [("Tools", tools), ("Part", record["part"])]
    facts.append(("Clock", f"{clock['made']:g} MHz, for which it was built (asked for: {clock['requested']:g} MHz)"))
    if timing := reports.get("timing"):
        met = "met" if timing["met"] else "not met"
        facts.append(("Timing", f"{met}; {slacks(timing)}"))
    if power := reports.get("power"):
        facts.append(("Power", f"{power['total_w']} W by the tool's estimate, not measured"))
    found: list[Any] = [
        Note("Figures of the vendor's tools; nothing here was measured on a board."),
        Facts(tuple(facts)),
    ]
    if used := reports.get("utilization"):
        columns = columns_of(("resource",), ("used", "available", "%"))
        found.append(Table("Utilisation of the whole overlay", columns, tuple(utilisation_rows(used))))
    if kernels := reports.get("hls"):
        cycles = tuple((n, known_cycles(k["latency_max"]), known_cycles(k["interval_max"])) for n, k in kernels.items())
        columns = columns_of(("kernel",), ("latency, cycles", "interval, cycles"))
        found.append(Table("Kernels by high-level synthesis", columns, cycles))
    return found


def _units(graph: Graph) -> list[Any]:
    """Sizes of the streaming units of this model's operators, from the committed bench."""
    from hls4attn.host import bench

    specs = [n.spec or n.norm or n.cells for n in graph.nodes]
    names = dict.fromkeys(_UNITS[s.op_type] for s in specs if s is not None and s.op_type in _UNITS)
    if not names:
        return []
    bench_file = Path(bench.__file__).parent / "hardware.json"
    content = json.loads(bench_file.read_text(encoding="utf-8"))
    rows = tuple(
        (u["title"], u["size"]["tool"], *(f"{u['size'][k]:,}" for k in ("lut", "lutram", "ff", "dsp", "bram18")))
        for u in content["units"] if u["name"] in names and u["size"]
    )  # fmt: skip
    columns = columns_of(("streaming unit, rows of 1,024", "tool"), ("LUT", "LUT as memory", "FF", "DSP", "BRAM18"))
    note = (
        "Units of the kind that this model uses, not its own: from the committed run of hls4attn bench hardware "
        f"for {content['part']}, synthesised without a clock constraint."
    )
    return [Table("Its operators alone, synthesised", columns, rows, note=note)]
