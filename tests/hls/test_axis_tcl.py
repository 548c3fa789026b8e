# SPDX-License-Identifier: Apache-2.0
"""The HLS script in a real Tcl, with commands that stand in for the tool's: what it says, reads and leaves."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from hls4attn.hls.axis import KernelSource, write_source
from hls4attn.hls.axis_tcl import hls_folder, hls_inputs, hls_outputs, hls_script

#: The tool: it notes what it is told, and leaves what synthesis and export leave.
_TOOL = """
proc note {args} { set f [open $::log a]; puts $f $args; close $f }
foreach name {set_part create_clock config_rtl config_compile set_top config_array_partition} {
    proc $name args "note $name {*}\\$args"
}
proc open_project args { note open_project {*}$args; set ::project [file join [pwd] [lindex $args end]] }
proc open_solution args { note open_solution {*}$args; set ::solution [file join $::project [lindex $args end]] }
proc add_files {file args} {
    note add_files $file {*}$args
    if {![file isfile $file]} { error "ERROR: \\[HLS 200-70\\] no such file $file" }
}
proc csynth_design {} {
    note csynth_design
    file mkdir [file join $::solution syn report]
    close [open [file join $::solution syn report top_csynth.xml] w]
}
proc export_design args {
    note export_design {*}$args
    file mkdir [file join $::solution impl ip]
    close [open [file join $::solution impl ip component.xml] w]
}
"""


@pytest.fixture
def kernel(tmp_path: Path) -> KernelSource:
    """A kernel in its place in a build folder."""
    files = {"top.cpp": b"//", "sub/more.cpp": b"//", "sub/more.h": b"//"}
    folder = tmp_path / "build" / "hls" / "top"
    return write_source(folder, "top", files, ("top.cpp", "sub/more.cpp"), "xc7z020clg400-1", 7.5, "Vitis", ())


def run(kernel: KernelSource, root: Path, tool: str = "", text: str | None = None) -> tuple[int, str, list[str]]:
    """Exit status, what was printed, what the tool was told."""
    tclsh = shutil.which("tclsh")
    assert tclsh, "tclsh is not on PATH; install it with: sudo apt-get install tcl"
    script, log = root / "run.tcl", root.parent / "log.txt"
    script.write_text(f"set log {{{log}}}\n{_TOOL}{tool}\n{text or hls_script(kernel)}")
    done = subprocess.run([tclsh, script.name], cwd=root, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr, log.read_text().splitlines() if log.exists() else []


def test_the_script_synthesises_and_exports(kernel: KernelSource, tmp_path: Path) -> None:
    root = tmp_path / "build"
    for _ in range(2):  # again, over what is there
        status, said, told = run(kernel, root)
        assert (status, said) == (0, "")
    folder = root / hls_folder(kernel)
    assert folder == kernel.folder
    flags = f"{{-std=c++11 -I{folder}/. -I{folder}/sub}}"
    assert told[: len(told) // 2] == [
        "open_project -reset top",
        "set_top top",
        f"add_files {folder}/top.cpp -cflags {flags}",
        f"add_files {folder}/sub/more.cpp -cflags {flags}",
        "open_solution -reset solution1",
        "set_part xc7z020clg400-1",
        "create_clock -period 7.5 -name default",
        "config_rtl -reset control",
        "config_compile -name_max_length 80",
        "config_compile -enable_auto_rewind=false",
        "config_array_partition -maximum_size 4096",
        "csynth_design",
        "export_design -format ip_catalog -vendor hls4attn -library hls -version 1.0",
    ]
    assert hls_outputs(kernel) == ("reports/hls_top.xml", "ip/top/component.xml")
    assert all((root / name).is_file() for name in hls_outputs(kernel))
    assert set(hls_inputs(kernel)) == {f"hls/top/{name}" for name in ("top.cpp", "sub/more.cpp", "sub/more.h")}
    assert all((root / name).is_file() for name in hls_inputs(kernel))


def test_the_script_is_the_same_wherever_it_lies(kernel: KernelSource, tmp_path: Path) -> None:
    elsewhere = replace(kernel, folder=tmp_path / "elsewhere/hls/top")
    assert hls_script(elsewhere) == hls_script(kernel)
    assert str(tmp_path) not in hls_script(kernel)
    shutil.move(tmp_path / "build", tmp_path / "moved")
    assert run(kernel, tmp_path / "moved")[0] == 0


@pytest.mark.parametrize(
    ("tool", "message"),
    [
        ("proc csynth_design {} {}", "Synthesis left no report: .*solution1/syn/report/top_csynth.xml"),
        ("proc csynth_design {} { error {ERROR: no licence} }", "ERROR: no licence"),
        ("proc export_design args {}", "Export left no IP: .*component.xml"),
        (
            "proc export_design args { error {'2201011128' is an invalid argument} }",
            "2201011128.*core_revision of ten digits.*record 76960",
        ),
        ("proc set_part args { error {no part xc7z020clg400-1} }", "no part xc7z020clg400-1"),
    ],
)
def test_what_goes_wrong_ends_the_script(kernel: KernelSource, tmp_path: Path, tool: str, message: str) -> None:
    status, said, _ = run(kernel, tmp_path / "build", tool)
    assert status != 0
    assert re.search(message, said), said
    assert not (tmp_path / "build/ip/top/component.xml").exists()


def test_vitis_has_no_limit_of_partitions(kernel: KernelSource, tmp_path: Path) -> None:
    """A command that only Vivado HLS knows is no error elsewhere."""
    status, said, _ = run(kernel, tmp_path / "build", "rename config_array_partition {}")
    assert (status, said) == (0, "")


def test_vivado_hls_rewinds_no_loops(kernel: KernelSource, tmp_path: Path) -> None:
    """Its `config_compile` has no such option, and needs none."""
    refusing = """
    rename config_compile kept
    proc config_compile args {
        if {[string match "*rewind*" $args]} { error "Unknown option: [lindex $args 0]" }
        kept {*}$args
    }
    """
    status, said, told = run(kernel, tmp_path / "build", refusing)
    assert status == 0
    assert said == "INFO: loops are not rewound by this tool: Unknown option: -enable_auto_rewind=false\n"
    assert "csynth_design" in told


def test_missing_sources_and_paths_with_spaces_are_refused(kernel: KernelSource, tmp_path: Path) -> None:
    root = tmp_path / "build"
    (kernel.folder / "sub/more.h").unlink()
    status, said, told = run(kernel, root)
    assert status != 0
    assert "A source of the kernel is missing: hls/top/sub/more.h" in said
    spaced = root.rename(tmp_path / "my build")
    status, said, _ = run(kernel, spaced)
    assert status != 0
    assert "has a space" in said
    assert told == []
