# SPDX-License-Identifier: Apache-2.0
"""Switching activity of a unit's netlist: how many nets change a row, a proxy for dynamic energy and no more.

Everything is mapped to LUTs and flip-flops (no block RAM, no DSP block, no shift registers), so that the work of each
shows.  What the number leaves out: glitches (there are no delays), the load of a net, bits inside memories, the clock
tree, and all static power.  Ratios between units are worth something, joules do not follow.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hls4attn.hls.rtl.sim import RtlSim
from hls4attn.hls.rtl.synth import TOP, cell_models, find_yosys, run_yosys, without_block_rams
from hls4attn.hls.rtl.unit import RtlUnit
from hls4attn.hls.rtl.verilated import verilated_library
from hls4attn.models.errors import SimulationError, ToolError

_LINE = 1000  # nets on a line: Verilator reads no line of 40,000 tokens
_MAPPING = "-nobram -nodsp -nosrl"
_COMMANDS = (
    f"synth_xilinx -family xc7 -flatten -noiopad -noclkbuf {_MAPPING}",
    "write_verilog -noattr -norename net.v",
    "write_json net.json",
)


@dataclass(frozen=True)
class Activity:
    """What changed.

    Attributes:
        per_row: changes of nets a row.
        nets: nets of the netlist.
        rows: rows that were sent, one behind the other.
    """

    per_row: float
    nets: int
    rows: int


def activity(unit: RtlUnit, rows: ArrayLike) -> Activity:
    """Changes of the nets of a unit's netlist while rows go through it, each net counted once a clock.

    Args:
        unit: the unit.
        rows: codes, shape ``(rows, n)``.

    Raises:
        SimulationError: if the netlist does not give what the Verilog gives.
        ToolError: if a tool is missing or fails.
    """
    folder = run_yosys(unit, without_block_rams(unit.sources()), _COMMANDS, ("net.v", "net.json"))
    nets = _nets(json.loads((folder / "net.json").read_text())["modules"][TOP])
    text = {"net.v": _counting((folder / "net.v").read_text(), nets)}
    text["cells_sim.v"] = cell_models(find_yosys()).read_text()
    # A few thousand clocks: less time than it takes to optimise the code.
    library = verilated_library(unit, text, top=TOP, options=("--bbox-unsup", "--x-initial", "0"), flags=("-O0",))
    codes = np.asarray(rows)
    found = RtlSim(unit, library=library).run(codes)
    if not np.array_equal(found.outputs, RtlSim(unit).run(codes).outputs):
        raise SimulationError(f"{unit.module}: its netlist of LUTs and flip-flops gives other codes than its Verilog")
    return Activity(found.toggles / len(codes), len(nets), len(codes))


def _nets(module: dict[str, Any]) -> list[str]:
    """A Verilog expression for each net but the clock, whatever number of names it has."""
    found: dict[int, str] = {}
    for name, wire in module["netnames"].items():
        escaped = name if re.fullmatch(r"[A-Za-z_]\w*", name) else f"\\{name} "
        first = wire.get("offset", 0)
        places = range(first, first + len(wire["bits"]))
        for place, bit in zip(reversed(places) if wire.get("upto") else places, wire["bits"], strict=True):
            if isinstance(bit, int):  # else a constant
                found.setdefault(bit, escaped if len(wire["bits"]) == 1 else f"{escaped}[{place}]")
    for bit in module["netnames"]["clk"]["bits"]:
        del found[bit]
    return list(found.values())


def _counting(netlist: str, nets: list[str]) -> str:
    """The netlist with a counter of its nets' changes."""
    head, start, rest = netlist.partition(f"module {TOP}(")
    body, end, tail = rest.rpartition("endmodule")
    if not start or not end:
        raise ToolError(f"Yosys wrote a netlist without {TOP}")
    parts = (", ".join(nets[k : k + _LINE]) for k in range(0, len(nets), _LINE))
    listed = ",\n".join(parts)
    counter = f"""
  output reg [63:0] toggles;
  wire [{len(nets) - 1}:0] count_now = {{{listed}}};
  reg [{len(nets) - 1}:0] count_before;
  always @(posedge clk) begin
    count_before <= count_now;
    toggles <= rst_n ? toggles + $countones(count_now ^ count_before) : 64'd0;
  end
"""
    return f"{head}{start}toggles, {body}{counter}{end}{tail}"
