# SPDX-License-Identifier: Apache-2.0
"""The rungs `rtl` and `netlist` of a model: its network of kernels as Verilog, from stream words to stream words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from hls4attn.hls.rtl.net.sim import NetworkSim
from hls4attn.host.rtl_stage import NETLIST, RTL
from hls4attn.models.export.graph import Graph
from hls4attn.models.formats import Codes

if TYPE_CHECKING:
    from hls4attn.host.rtl_choice import RtlChoice


class RtlNetworkStage:
    """A model's network, clock by clock.

    Args:
        graph: the model.
        choice: its design, and which products are DSP blocks.
        netlist: simulate the netlist, gate by gate.

    Attributes:
        device_tag: samples and cycles of the last run.
        cycles: of the last run, from the first word offered to the last one taken; None before it.
        sample_limit: samples that the ladder gives it, since a minute is long.
        cycles_are: where the cycles come from, in words.

    Raises:
        UnsupportedError: for a node without RTL.
        ToolError: if Verilator, a compiler or Yosys is missing or fails.
    """

    cycles_are = "counted in simulated RTL"

    def __init__(self, graph: Graph, choice: RtlChoice, netlist: bool = False) -> None:
        self.name = NETLIST if netlist else RTL
        self.sample_limit = 4 if netlist else 2000
        self._output = graph.output.name
        self._sim = NetworkSim(choice.design, graph, choice.budget.chosen, netlist)
        self.device_tag = ""
        self.cycles: int | None = None

    def run(self, codes: Codes) -> Codes:
        """Output codes of samples that are sent one behind the other, in one packet."""
        found = self._sim.run(codes)
        self.cycles = found.cycles
        each = f", {found.interval:,.6g} a sample" if len(codes) > 1 else ""
        self.device_tag = f"{found.cycles:,} cycles: {found.latency:,} for the first sample{each}"
        return found.outputs

    def trace(self, codes: Codes) -> Mapping[str, Codes]:
        """The output: the network shows nothing else."""
        return {self._output: self.run(codes)}
