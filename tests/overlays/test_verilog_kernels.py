# SPDX-License-Identifier: Apache-2.0
"""Kernels in Verilog in place of C++: packaged in a stage of their own, drawn as those of high-level synthesis."""

from dataclasses import replace
from pathlib import Path

import pytest
from build_folders import build_folder, kernel_of, rtl_kernel_of
from overlay_designs import BOARDS, make
from test_operators_design import design as bank

from hls4attn.models.errors import SpecError
from hls4attn.overlays.boards import board
from hls4attn.overlays.design import OverlayDesign
from hls4attn.overlays.dryrun import dry_run
from hls4attn.overlays.scripts import Script, overlay_scripts

Built = tuple[OverlayDesign, Path, tuple[Script, ...]]
TABLE = "kernels/nn_kernel/src/nn_kernel_table.mem"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("build")
    return make(), folder, build_folder(make(), folder, rtl=True)


@pytest.mark.parametrize("on", BOARDS)
@pytest.mark.parametrize("version", ["2020.1", "2025.2"])
def test_the_drawing_is_that_of_every_board(on: str, version: str, tmp_path: Path) -> None:
    design = make(on=on)
    report = dry_run(build_folder(design, tmp_path, rtl=True), tmp_path, version, design=design)
    assert [str(problem) for problem in report.problems] == []
    assert ("nn_kernel_0/out_r", "stream_model_0/kernel0_out") in report.streams
    assert report.nets["nn_kernel_0/ap_rst_n"] == "axi_dma_0/mm2s_prmry_reset_out_n"


def test_no_script_needs_high_level_synthesis(built: Built) -> None:
    _, _, scripts = built
    assert {script.tool for script in scripts} == {"vivado"}
    assert [script.name for script in scripts[:2]] == ["kernel_nn_kernel", "shell"]
    assert scripts[0].reads == (*(f"kernels/nn_kernel/src/{name}" for name in ("echo.sv", "nn_kernel.v")), TABLE)


def test_kernels_of_both_kinds_in_one_overlay(tmp_path: Path) -> None:
    design = bank()
    kernels = [rtl_kernel_of(design, 0, tmp_path), *(kernel_of(design, n, tmp_path) for n in (1, 2))]
    build_folder(design, tmp_path / "other")
    (tmp_path / "other" / "rtl").rename(tmp_path / "rtl")
    scripts = overlay_scripts(design, kernels)
    assert [script.stage for script in scripts[:4]] == ["hls", "hls", "kernel", "shell"]
    assert [str(problem) for problem in dry_run(scripts, tmp_path, design=design).problems] == []


#: what is there in the script, what is put in its place, message
FAULTS = {
    "table not added": ("[concat $rtl $tables]", "$rtl", "the packager left the table nn_kernel_table.mem out of"),
    "Verilog not added": ("[concat $rtl $tables]", "$tables", "no module 'nn_kernel' with interfaces"),
    "other top": ("set_property top $ip_name", "set_property top echo", "no module 'echo' with interfaces"),
    "stream not found": ("{ap_clk ap_rst_n in_r out_r}", "{ap_clk in_s}", "found no bus interface in_s in the Verilog"),
    "group not found": ("xilinx_anylanguagesynthesis ", "xilinx_synthesis ", "made no group of files xilinx_synthesis"),
    "misspelt command": ("ipx::get_file_groups", "ipx::get_filegroups", "unknown command: ipx::get_filegroups"),
    "property of a file": ("get_property NAME $item", "get_property PATH $item", "has no property PATH"),
    "not saved": ("    ipx::save_core $core\n", "", "the packager did not write it"),
    "project left open": ("    close_project\n    file delete", "    file delete", "project package is still open"),
    "another name": ("set_property name $ip_name", "set_property name kernel", "has no hls4attn:hls:nn_kernel"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_by_its_own_message(built: Built, name: str) -> None:
    design, folder, scripts = built
    old, new, message = FAULTS[name]
    assert scripts[0].text.count(old) == 1
    edited = [replace(scripts[0], text=scripts[0].text.replace(old, new)), *scripts[1:]]
    problems = [str(problem) for problem in dry_run(edited, folder, design=design).problems]
    assert [text for text in problems if message in text], problems


def test_sources_that_are_missing(tmp_path: Path) -> None:
    scripts = build_folder(make(), tmp_path, rtl=True)
    (tmp_path / TABLE).unlink()
    problems = [str(problem) for problem in dry_run(scripts, tmp_path).problems]
    assert f"kernel_nn_kernel: reads {TABLE}, which nothing made" in problems


def test_kernels_must_be_those_of_the_design(tmp_path: Path) -> None:
    design = make()
    kernel = rtl_kernel_of(design, 0, tmp_path)
    with pytest.raises(SpecError, match="needs the kernels"):
        overlay_scripts(design, [replace(kernel, name="other")])
    with pytest.raises(SpecError, match="written for xczu7ev-ffvc1156-2-e, the overlay for xc7z020clg400-1"):
        overlay_scripts(design, [replace(kernel, part=board("zcu104").part)])
