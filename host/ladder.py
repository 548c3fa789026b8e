# SPDX-License-Identifier: Apache-2.0
"""The verification ladder: every stage against the integer reference, for equality.

One rung is one stage.  A rung that differs is located: the first sample, then the first tensor in execution order
that the stage can show and that differs, then the first element of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from hls4attn.models.errors import InputError
from hls4attn.models.export.execute import Reference
from hls4attn.models.export.graph import Graph
from hls4attn.models.export.stages import OFF_GRID, Stage
from hls4attn.models.formats import Codes

#: Stages that are too slow for all samples get the first so many (corners and real data come first).
SAMPLE_LIMITS = {"qonnx": 200, "netlist": 20}


@dataclass(frozen=True)
class Difference:
    """Where two stages part."""

    sample: int
    tensor: str
    element: tuple[int, ...]
    expected: int
    received: int | None

    def __str__(self) -> str:
        received = "a value off the integer grid" if self.received is None else f"code {self.received}"
        return (
            f"first at sample {self.sample}, tensor {self.tensor}, element {list(self.element)}: "
            f"expected code {self.expected}, received {received}"
        )


@dataclass(frozen=True)
class Rung:
    """Result of one stage.

    Attributes:
        stage: its name.
        against: what it was compared with.
        samples: how many samples (of a model) or rows (of an operator) were compared.
        mismatches: how many of them differ in any element.
        seconds: wall time of the stage on this machine.
        difference: the first mismatch.
        device: what a board says it is; of RTL, what went through it and how long that took.
        cycles: clock cycles that were simulated for all of them; None where no clock runs.
        case: of an operator, its name; "" of a model.
    """

    stage: str
    against: str
    samples: int
    mismatches: int
    seconds: float
    difference: Difference | None = None
    device: str = ""
    cycles: int | None = None
    case: str = ""

    def to_json(self) -> dict[str, Any]:
        """The machine-readable row."""
        row: dict[str, Any] = {"case": self.case} if self.case else {}
        row |= {
            "stage": self.stage,
            "against": self.against,
            "samples": self.samples,
            "mismatches": self.mismatches,
        }
        if self.cycles is not None:
            row["cycles"] = self.cycles
        if self.difference:
            row["first"] = str(self.difference)
        return row


def climb(
    graph: Graph,
    stages: Mapping[str, Callable[[], AbstractContextManager[Stage]]],
    codes: Codes,
    on_start: Callable[[str], None] | None = None,
    unit_axes: int = 1,
) -> Iterator[Rung]:
    """Compare each stage with the reference; stages are opened one after the other.

    Args:
        graph: the model.
        stages: by name, functions that open a stage (they may compile or load for a while).
        codes: input codes, ``(samples, *graph.input.shape)``.
        on_start: called with a name before each piece of work.
        unit_axes: leading axes of the output that number what is counted: 1 for samples, more for rows.

    Raises:
        InputError: if there are no samples.
    """
    if len(codes) == 0:
        raise InputError("Nothing to verify: 0 samples")
    tell = on_start or (lambda name: None)
    tell("reference")
    reference = Reference(graph)
    expected = reference.run(codes)
    for name, open_stage in stages.items():
        tell(name)
        start = time.perf_counter()
        with open_stage() as stage:
            limit = getattr(stage, "sample_limit", SAMPLE_LIMITS.get(name, len(codes)))
            count = min(len(codes), limit)
            received = stage.run(codes[:count])
            seconds = time.perf_counter() - start
            yield _compare(reference, stage, codes[:count], expected[:count], received, seconds, unit_axes)


def _compare(
    reference: Reference,
    stage: Stage,
    codes: Codes,
    expected: Codes,
    received: Codes,
    seconds: float,
    unit_axes: int,
) -> Rung:
    if received.shape != expected.shape:
        raise InputError(f"{stage.name}: output of shape {received.shape}, expected {expected.shape}")
    device, cycles = getattr(stage, "device_tag", ""), getattr(stage, "cycles", None)  # of this run
    units = prod(expected.shape[:unit_axes])
    wrong = np.flatnonzero(np.any((received != expected).reshape(units, -1), axis=1))
    difference = None
    if wrong.size:
        sample = int(wrong[0]) * len(codes) // units
        difference = _locate(reference, stage, codes, sample, expected, received)
    return Rung(stage.name, "reference", units, int(wrong.size), seconds, difference, device, cycles)


def _locate(
    reference: Reference, stage: Stage, codes: Codes, sample: int, expected: Codes, received: Codes
) -> Difference:
    one = codes[sample : sample + 1]
    shown = stage.trace(one)
    truth = reference.trace(one)
    for tensor in reference.graph.activations():
        if tensor.name in shown and not np.array_equal(shown[tensor.name], truth[tensor.name]):
            return _difference(sample, tensor.name, truth[tensor.name][0], shown[tensor.name][0])
    return _difference(sample, reference.graph.output.name, expected[sample], received[sample])


def _difference(sample: int, tensor: str, expected: Codes, received: Codes) -> Difference:
    element = tuple(int(i) for i in np.argwhere(expected != received)[0])
    got = int(received[element])
    return Difference(sample, tensor, element, int(expected[element]), None if got == OFF_GRID else got)
