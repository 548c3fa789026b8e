# SPDX-License-Identifier: Apache-2.0
"""Proofs about a module for all inputs: its Verilog as bit-vector formulas by Yosys, decided by z3.

A claim relates ports, wires and registers at a few clocks::

    prove(Module(unit), lambda at: at("y", 1) == at("a", 0) + at("b", 0))

The state at clock 0 is arbitrary, so that a claim about a stage holds in every state the module can reach. What is
read from a memory that is written is arbitrary too; constant tables are what they are.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hls4attn.hls.rtl.synth import call_tool, cell_models, find_yosys
from hls4attn.hls.rtl.unit import RtlUnit
from hls4attn.models.errors import SimulationError, SpecError, ToolError

if TYPE_CHECKING:
    import z3

    At = Callable[[str, int], z3.BitVecRef]
    Claim = Callable[[At], z3.BoolRef]

_WIRE = re.compile(r"^; yosys-smt2-(?:wire|input|output|register) (\S+) (\d+)", re.MULTILINE)
_STATE = re.compile(r"^; yosys-smt2-stbv (\d+)|define-sort \|top_s\| \(\) \(_ BitVec (\d+)\)", re.MULTILINE)
#: To the cells that write_smt2 knows. Memories that are written give what they like, and so does what is undefined;
#: ports of cells that a netlist leaves open are 0, as in the parts.
_LOWER = """
proc
flatten
setattr -set keep 1 w:* w:$* %d
{free}
setundef -undriven {undriven}
setundef -anyseq
opt_clean
memory -nomap
memory_map -rom-only
cutpoint t:$mem_v2 t:$mem
opt -fast
dffunmap
clean
rename -top top
write_smt2 -stbv -wires top.smt2
"""


@dataclass(frozen=True, eq=False)
class Module:
    """A module as formulas.

    Attributes:
        name: of the module.
        text: SMT-LIB that defines its wires and its next state as functions of a state.
        widths: bits of each wire.
        state: bits of a state.
    """

    name: str
    text: str
    widths: Mapping[str, int]
    state: int

    @classmethod
    def of(
        cls, unit: RtlUnit, sources: Mapping[str, str] | None = None, netlist: bool = False, free: Sequence[str] = ()
    ) -> Module:
        """Read a unit, or any module that is described like one.

        Args:
            unit: module, sources, parameters and tables; its ports may be any.
            sources: text of sources, by file name, in place of the files' own.
            netlist: take what synthesis for 7-series parts makes of it, cell by cell.
            free: wires that have any value, whatever drives them.

        Raises:
            ToolError: if Yosys is missing or fails.
        """
        yosys = find_yosys()
        files = unit.sources() | dict(sources or {})
        roms = {file: unit.roms[name].text() for name, file in unit.rom_files().items()}
        files = {name: _with_constants(unit, text) for name, text in files.items()}
        script = f"read_verilog -sv -defer {' '.join(files)}\nhierarchy -check -top {unit.module}\n"
        if netlist:
            roms["cells_sim.v"] = cell_models(yosys).read_text(encoding="utf-8")
            script += "synth_xilinx -family xc7 -flatten -noiopad -noclkbuf -nobram\nrename -top net\n"
            script += "write_verilog -noattr net.v\ndesign -reset\nread_verilog net.v cells_sim.v\n"
            script += "hierarchy -check -top net\n"
        lower = _LOWER.format(
            undriven="-zero" if netlist else "-anyseq",
            free=f"cutpoint {' '.join(f'w:{n}' for n in free)}" if free else "",
        )
        with tempfile.TemporaryDirectory() as folder:
            for name, text in {**files, **roms, "prove.ys": script + lower}.items():
                (Path(folder) / name).write_text(text, encoding="utf-8")
            call_tool([yosys, "-q", "-s", "prove.ys"], Path(folder))
            text = (Path(folder) / "top.smt2").read_text(encoding="utf-8")
        widths = {name: int(width) for name, width in _WIRE.findall(text)}
        found = _STATE.search(text)
        if found is None:
            raise ToolError(f"{unit.module}: Yosys wrote no state")
        return cls(unit.module, text, widths, int(found[1] or found[2]))


def counterexample(module: Module, claim: Claim, timeout_s: int = 60) -> dict[str, int] | None:
    """Values that contradict a claim, by ``name@clock``; None if there are none: the claim is proved.

    Args:
        module: the module.
        claim: from ``at(name, clock)``, a bit vector, to what has to hold.
        timeout_s: seconds for z3.

    Raises:
        SpecError: for a wire that is not there.
        SimulationError: if z3 comes to no result.
        ToolError: if z3 is missing.
    """
    try:
        import z3
    except ImportError as error:
        raise ToolError("No z3; it is one of the packages of: pip install 'hls4attn[dev]'") from error
    asked: dict[tuple[str, int], z3.BitVecRef] = {}

    def at(name: str, clock: int) -> z3.BitVecRef:
        if name not in module.widths:
            raise SpecError(f"{module.name} has no wire {name}; it has {', '.join(sorted(module.widths))}")
        return asked.setdefault((name, clock), z3.BitVec(f"{name}@{clock}", module.widths[name]))

    wanted = claim(at)
    clocks = max(clock for _, clock in asked)
    lines = [f"(declare-fun s{t} () (_ BitVec {module.state}))" for t in range(clocks + 1)]
    lines += [f"(assert (|top_t| s{t} s{t + 1}))" for t in range(clocks)]
    lines += [f"(assert (and (|top_a| s{t}) (|top_u| s{t})))" for t in range(clocks + 1)]
    for (name, t), value in asked.items():
        lines.append(f"(declare-fun |{name}@{t}| () (_ BitVec {value.size()}))")
        now = f"(|top_n {name}| s{t})"
        lines.append(f"(assert (= |{name}@{t}| {now if value.size() > 1 else f'(ite {now} #b1 #b0)'}))")
    solver = z3.SolverFor("QF_BV")
    solver.set("timeout", 1000 * timeout_s)
    solver.from_string(module.text + "\n".join(lines))
    solver.add(z3.Not(wanted))
    result = solver.check()
    if result == z3.unsat:
        return None
    if result != z3.sat:
        raise SimulationError(f"{module.name}: z3 comes to no result within {timeout_s} s")
    model = solver.model()
    return {f"{name}@{t}": model.eval(value, True).as_long() for (name, t), value in sorted(asked.items())}


def _with_constants(unit: RtlUnit, text: str) -> str:
    """A source with the unit's constants as defaults, if it is the top module's: ``-chparam`` takes no strings."""
    if not re.search(rf"^module {unit.module}\b", text, re.MULTILINE):
        return text
    values = {name: str(value) for name, value in unit.parameters.items()}
    for name, value in (values | {name: f'"{file}"' for name, file in unit.rom_files().items()}).items():
        text, count = re.subn(rf"(\bparameter (?:int )?{name} *= *)(?:\"[^\"]*\"|[^\s,]+)", rf"\g<1>{value}", text)
        if count != 1:
            raise SpecError(
                f"{unit.module}: {count} parameters {name}; there must be one, with a default that is one word"
            )
    return text
