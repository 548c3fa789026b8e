# SPDX-License-Identifier: Apache-2.0
"""The dry run finds what is wrong with a script: every fault is put into a sound one and found by its own message."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from build_folders import build_folder
from overlay_designs import cells, make
from script_faults import FAULTS
from test_operators_design import design as bank

from hls4attn.models.errors import SpecError, ToolError
from hls4attn.overlays import dryrun
from hls4attn.overlays.design import OverlayDesign
from hls4attn.overlays.dryrun import DryRunReport, dry_run
from hls4attn.overlays.handoff_match import differences
from hls4attn.overlays.scripts import Script

Built = tuple[OverlayDesign, Path, tuple[Script, ...]]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("build")
    return make(), folder, build_folder(make(), folder)


def edited(scripts: tuple[Script, ...], stage: str, old: str, new: str) -> list[Script]:
    """The scripts with one text of a stage replaced, which must be there."""
    assert sum(script.stage == stage and old in script.text for script in scripts) == 1
    return [replace(s, text=s.text.replace(old, new)) if s.stage == stage else s for s in scripts]


def texts(report: DryRunReport) -> list[str]:
    return [str(problem) for problem in report.problems]


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_by_its_own_message(built: Built, name: str) -> None:
    design, folder, scripts = built
    stage, old, new, message = FAULTS[name]
    report = dry_run(edited(scripts, stage, old, new), folder, "2020.1", design=design)
    found = [text for text in texts(report) if message in text]
    assert found, texts(report)
    assert not report.clean


def test_the_same_scripts_without_a_fault(built: Built) -> None:
    design, folder, scripts = built
    assert texts(dry_run(scripts, folder, "2020.1", design=design)) == []


def test_a_version_that_is_too_old_stops_at_the_first_script_of_vivado(built: Built) -> None:
    _, folder, scripts = built
    report = dry_run(scripts, folder, "2019.2")
    assert "shell: the script reports: ERROR: [hls4attn shell] Vivado 2020.1 or newer is needed" in texts(report)[0]
    assert texts(report)[1:] == ["shell: the script ends with exit code 1"]


def test_a_newer_version_than_those_known_only_warns(built: Built) -> None:
    _, folder, scripts = built
    report = dry_run(scripts, folder, "2026.1")
    assert report.clean
    assert len(report.warnings) == 5
    assert "newer than 2025.x" in str(report.warnings[0])


def test_files_that_are_missing(tmp_path: Path) -> None:
    scripts = build_folder(make(), tmp_path)
    (tmp_path / "rtl" / "stream_model.v").unlink()
    report = dry_run(scripts, tmp_path)
    assert "shell: reads rtl/stream_model.v, which nothing made" in texts(report)
    (tmp_path / "hls" / "nn_kernel" / "kernel.cpp").unlink()
    report = dry_run(scripts, tmp_path)
    assert texts(report)[0] == "hls_nn_kernel: reads hls/nn_kernel/kernel.cpp, which nothing made"


def test_a_stage_without_those_before_it(built: Built) -> None:
    _, folder, scripts = built
    report = dry_run(scripts[2:], folder)
    assert texts(report)[0] == "design: reads ip/stream_model/component.xml, which nothing made"
    assert "the stages hls, kernel and shell make it; run those first" in texts(report)[2]


def test_an_interface_that_the_verilog_lost(tmp_path: Path) -> None:
    scripts = build_folder(make(), tmp_path)
    top = tmp_path / "rtl" / "stream_model.v"
    top.write_text(top.read_text().replace("axis:1.0 kernel0_out", "axis:1.0 kernel_out"))
    report = dry_run(scripts, tmp_path)
    assert "the packager found no bus interface kernel0_out in the Verilog" in texts(report)[0]


def test_registers_that_are_not_said_to_be_axi4_lite(tmp_path: Path) -> None:
    scripts = build_folder(make(), tmp_path)
    top = tmp_path / "rtl" / "stream_model.v"
    top.write_text(top.read_text().replace(", PROTOCOL AXI4LITE", ""))
    report = dry_run(scripts, tmp_path)
    assert texts(report) == ["shell: ipx::save_core: interface s_axi_control does not say PROTOCOL AXI4LITE"]


def test_the_folder_is_only_read(tmp_path: Path) -> None:
    scripts = build_folder(make(), tmp_path)
    for path in ("vivado/overlay.xpr", "ip/stream_model/component.xml", "out/nn.bit"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text("of a real build")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert dry_run(scripts, tmp_path).clean
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_bank_of_operators(tmp_path: Path) -> None:
    design = bank()
    report = dry_run(build_folder(design, tmp_path), tmp_path, design=design)
    assert texts(report) == []
    assert ("operators_0/kernel2_in", f"{design.kernels[2].instance}/in_r") in report.streams


OTHERS: dict[str, tuple[Callable[[], OverlayDesign], str]] = {
    "board": (lambda: make(on="zcu104"), "cell zynq_ultra_ps_e_0 is drawn as nothing"),
    "name": (lambda: make("other"), "cell other_kernel_0 is drawn as nothing; the handoff says hls4attn:hls:other"),
    "kind": (cells, "stream gaincell_0/out_r to axi_dma_0/S_AXIS_S2MM is only in the handoff"),
    "instance": (lambda: make(ip="net_0"), "cell stream_model_0 is drawn; the handoff has none of that name"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_the_handoff_of_another_design(built: Built, what: str) -> None:
    design, folder, scripts = built
    report = dry_run(scripts, folder)
    assert differences(report, design) == []
    other, message = OTHERS[what]
    assert [text for text in differences(report, other()) if message in text]


def test_each_kind_of_difference_is_told(built: Built) -> None:
    design, folder, scripts = built
    moved = edited(scripts, "design", "s_axi 0x41800000", "s_axi 0x41900000")
    report = dry_run(edited(tuple(moved), "design", "burst_size 16", "burst_size 8"), folder)
    del report.nets["axi_intc_0/intr"]
    assert differences(report, design) == [
        "axi_intc_0 is at 0x41900000 with 65536 bytes; the handoff says 0x41800000 with 65536 bytes",
        "axi_intc_0/intr is driven by nothing; the handoff says xlconcat_0/dout",
        "axi_dma_0 has c_mm2s_burst_size=8; the handoff says 16",
        "axi_dma_0 has c_s2mm_burst_size=8; the handoff says 16",
    ]


def test_the_report_as_plain_values(built: Built) -> None:
    _, folder, scripts = built
    values = dry_run(scripts, folder).to_dict()
    assert values["clean"] and values["problems"] == []
    assert {
        "space": "processing_system7_0/Data",
        "segment": "axi_dma_0/S_AXI_LITE/Reg",
        "base": "0x40400000",
        "bytes": 65536,
    } in values["addresses"]
    assert values["cells"]["axi_dma_0"] == "xilinx.com:ip:axi_dma:7.1"


def test_a_script_that_does_not_end(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    _, folder, scripts = built
    monkeypatch.setattr(dryrun, "TIMEOUT_S", 0.5)
    endless = replace(scripts[0], text="while 1 {}\n")
    with pytest.raises(ToolError, match="did not end within"):
        dry_run([endless], folder)


def test_no_shell_of_tcl_and_versions_of_another_form(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    _, folder, scripts = built
    for version in ("2024", "v2024.1", "24.1", ""):
        with pytest.raises(SpecError, match="a year and a number"):
            dry_run(scripts, folder, version)
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(ToolError, match="needs Tcl's shell"):
        dry_run(scripts, folder)
