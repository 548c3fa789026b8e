# SPDX-License-Identifier: Apache-2.0
"""Attention heads and a whole network for `hls4attn bench hardware`: what a score function costs where it is used."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from hls4attn.hls.rtl.net.kernel import RtlKernel, rtl_kernel
from hls4attn.hls.rtl.net.kernel_sim import KernelSim, kernel_unit
from hls4attn.hls.rtl.unit import RtlUnit
from hls4attn.hls.stream.attention import with_structure
from hls4attn.hls.stream.attention_graph import AttentionFormats, attention_graph, attention_node
from hls4attn.host.bench.hardware_subject import CODES, Mark, RowCycles, Subject
from hls4attn.models.operators import ConSmaxSpec, E2SoftmaxSpec, ScoreSpec, SoftmaxSpec

if TYPE_CHECKING:
    from hls4attn.host.rtl_choice import RtlChoice
    from hls4attn.models.export.graph import Graph

#: Board of the network, and the model: the zoo's name and the stem of the file.
BOARD, MODEL = "pynq-z2", "digits"
_SAMPLES = 6  # that a network's interval is taken from
_SCORES: dict[str, tuple[str, ScoreSpec]] = {
    "consmax": ("ConSmax", ConSmaxSpec(CODES, (1.5,), (100.0,), (1.0,), (11,))),
    "e2softmax": ("E2Softmax", E2SoftmaxSpec(CODES, (1.0,))),
    "softmax": ("exact softmax", SoftmaxSpec(CODES, (1.0,))),
}
_NO_TOGGLES = "changes of nets are counted of single units only"


@dataclass(frozen=True)
class Head:
    """One attention head: every product of a key at a time.

    Attributes:
        score: name of its score function.
        rows: longest sequence.
        width: elements of a query.
    """

    score: str
    rows: int
    width: int

    def kernel(self, dsp: bool = True) -> RtlKernel:
        """Its module, products in DSP blocks or in LUTs."""
        graph = attention_graph(_SCORES[self.score][1], self.rows, self.width, AttentionFormats())
        return rtl_kernel(with_structure(attention_node(graph), 1, 1, self.width), graph, dsp)

    def clocks(self, length: int, _: int) -> RowCycles:
        """Of sequences of a length, behind each other: interval of a query's row, latency of a sequence."""
        formats = AttentionFormats()
        zeros = np.zeros((3 * length, self.width), dtype=np.int64)
        operands = (formats.q, formats.k, formats.v)
        # K and V of a sequence go in at once: nothing comes out for as long as the first row takes.
        run = KernelSim(self.kernel()).run([zeros] * 3, operands, formats.output, [length] * 3, patience=1 << 24)
        ends = run.ends.reshape(3, length)[:, -1]
        return RowCycles(int(ends[0] - run.starts[0]), float(ends[2] - ends[1]) / length)

    def subject(self) -> Subject:
        """Its row of the table."""
        first = self.score == "consmax"
        return Subject(
            f"attention head, {_SCORES[self.score][0]}, {self.rows} x {self.width}",
            lambda _: kernel_unit(self.kernel()),
            self.clocks,
            without_dsp=(lambda _: kernel_unit(self.kernel(dsp=False))) if first else None,
            baseline=self.score == "softmax",
            rows=self.rows,
            missing={"toggles": _NO_TOGGLES}
            | ({} if first else {"without_dsp": "its products are the ConSmax head's"}),
        )


@cache
def digits() -> tuple[RtlChoice, Graph]:
    """How the zoo's model is made for the board, as everywhere else."""
    from hls4attn.host.library import overlay_flow

    flow = overlay_flow(MODEL, BOARD).for_rtl()
    return flow.rtl_choice, flow.graph


def _digits_unit(_: int) -> RtlUnit:
    from hls4attn.hls.rtl.net.network import network_unit

    found, graph = digits()
    return network_unit(found.design, graph, found.budget.chosen)


def _digits_clocks(_: int, __: int) -> RowCycles:
    from hls4attn.hls.rtl.net.sim import NetworkSim

    found, graph = digits()
    sim = NetworkSim(found.design, graph, found.budget.chosen)
    run = sim.run(np.zeros((_SAMPLES, *found.design.input.shape), dtype=np.int64))
    return RowCycles(run.latency, run.interval)


HEADS: dict[str, Subject] = {
    f"head-{score}-{rows}x{width}": Head(score, rows, width).subject()
    for score, rows, width in (
        *((score, rows, width) for score in ("consmax", "e2softmax") for rows in (64, 1024) for width in (16, 64)),
        ("softmax", 1024, 64),
    )
}
#: What takes too long for every run.
NETWORKS: dict[str, Subject] = {
    "digits": Subject(
        f"digits transformer (ConSmax), fastest that fits {BOARD}",
        _digits_unit,
        _digits_clocks,
        marks=(
            Mark("latency", 1_999),
            # Of an xc7z020, where DMA, interconnect and shell need some, too.
            *(Mark("luts", 53_200), Mark("ff", 106_400), Mark("dsp", 220), Mark("bram18", 280)),
        ),
        rows=1,
        missing={
            "without_dsp": "the configuration is chosen for the DSP blocks of the board",
            "toggles": _NO_TOGGLES,
        },
    )
}
