# SPDX-License-Identifier: Apache-2.0
"""Throughput of the software on this machine: references and C simulation.  Nothing here is a time of hardware."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from hls4attn.host.flow import Flow
from hls4attn.host.operator_models import OPERATORS, is_norm
from hls4attn.host.paths import check_output
from hls4attn.models.export.execute import Reference, random_codes
from hls4attn.models.files import write_json
from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.operators import E2ContextSpec, GainCellSpec
from hls4attn.models.zoo import zoo_model

ROW = 64
ROWS = 20_000
SAMPLES = 2_000
REPEATS = 5


@dataclass(frozen=True)
class Throughput:
    """Median of five runs.

    Attributes:
        what: what ran.
        unit: what is counted.
        per_second: units a second.
    """

    what: str
    unit: str
    per_second: float


def measure(function: Callable[[], object], units: int) -> float:
    """Units a second, median of five runs after one to warm up."""
    function()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return units / float(np.median(times))


def software_throughput() -> list[Throughput]:
    """Reference of every operator, reference and C simulation of the digits model."""
    found = []
    for name, cases in OPERATORS.items():
        for case in cases:
            spec = case.spec()
            operands = _operands(spec)
            rows = prod(operands[0].shape[:-1])
            rate = measure(lambda s=spec, o=operands: s.reference(*o), rows)  # type: ignore[misc]
            found.append(Throughput(f"{name} reference, {case.title}", f"rows of {operands[0].shape[-1]}", rate))
    flow = Flow.open(zoo_model("digits-vit").folder / "consmax.onnx")
    codes = random_codes(flow.graph.input, SAMPLES, seed=0)
    reference = Reference(flow.graph)
    found.append(Throughput("digits-vit reference", "images", measure(lambda: reference.run(codes), SAMPLES)))
    found.append(Throughput("digits-vit C simulation", "images", measure(lambda: flow.csim.run(codes), SAMPLES)))
    return found


def _operands(spec: Any) -> list[Codes]:
    """Random codes: rows of 64 scores (with values of 8 channels for the shift form), tokens, or rows of channels."""
    rng = np.random.default_rng(0)

    def draw(fmt: Fixed, *shape: int) -> Codes:
        return rng.integers(fmt.min, fmt.max, shape, dtype=np.int64, endpoint=True)

    if is_norm(spec):
        return [draw(spec.in_format, ROWS, spec.channels)]
    samples = ROWS // ROW // spec.heads
    if isinstance(spec, GainCellSpec):
        return [draw(fmt, samples, spec.heads, ROW, spec.head_dim) for fmt in spec.in_formats]
    scores = draw(spec.in_format, samples, spec.heads, ROW, ROW)
    return [scores, draw(spec.v_format, samples, spec.heads, ROW, 8)] if isinstance(spec, E2ContextSpec) else [scores]


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def print_throughput(out: Console, json: Path | None) -> None:
    """A table, and JSON if asked for."""
    check_output(json)
    rows = software_throughput()
    machine = f"{platform.machine()}, {_cores()} cores, Python {platform.python_version()}"
    table = Table("what", "counted", "a second", box=None, pad_edge=False, title=f"software on {machine}")
    for row in rows:
        table.add_row(row.what, row.unit, f"{row.per_second:,.0f}")
    out.print(table)
    if json:
        write_json(json, {"machine": machine, "rows": [asdict(r) for r in rows]})
