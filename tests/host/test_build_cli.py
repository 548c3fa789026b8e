# SPDX-License-Identifier: Apache-2.0
"""The verb `build`: what it says and with which exit code, with stand-ins for the vendor's tools."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from command_line import command
from dense_model import make_design
from rich.console import Console

from hls4attn.host.building import display as build_display
from hls4attn.host.building import verb
from hls4attn.host.building.display import BuildDisplay
from hls4attn.host.building.plans import OVERLAYS
from hls4attn.host.live import duration
from hls4attn.models.errors import BuildError, ModelFileError
from hls4attn.overlays.building.runner import JOBS
from hls4attn.overlays.package import read_package
from hls4attn.overlays.scripts import STAGES, Script
from tests.fake_vivado.workshop import Workshop, sample_recipe

CLEAN = {"summary": "dry run: clean"}


@pytest.fixture
def workshop(tmp_path, monkeypatch):
    """Sample scripts in place of the real ones, which are of no interest here; no tools until some are put there."""
    workshop = Workshop(tmp_path, monkeypatch, ())
    workshop.fault = None

    def recipe(plan, folder):
        made = sample_recipe(plan.design, folder)
        workshop.set(made.scripts, plan.design, fault=workshop.fault)
        return made

    monkeypatch.setattr(verb, "_recipe", recipe)
    monkeypatch.setattr(verb, "_dry_run", lambda *_: dict(CLEAN))
    monkeypatch.chdir(tmp_path)
    return workshop


def test_without_tools_all_but_the_bitstream_is_there_and_exit_5_says_so(workshop, capsys, monkeypatch, tmp_path):
    code, out, err = command(capsys, monkeypatch, "build", "--board", "pynq-z1", "--json", "r.json")
    folder = tmp_path / "build" / "digits-pynq-z1"
    assert code == 5 and err.startswith("error: No bitstream of digits; not found on PATH: Vitis HLS")
    assert "source settings64.sh" in err.lower() and len(err.splitlines()) == 1
    assert "io_stream" in out and "the smallest that fits" in out and "dry run: clean" in out
    for name in ("rtl/top.v", "scripts/design.tcl", "hls/digits_kernel/ (1 files)", "design.json"):
        assert name in out
    assert out.count("scripts/synthesis.tcl") == 2  # written, and not run
    (result,) = json.loads((tmp_path / "r.json").read_text())["overlays"]
    assert (result["built"], result["folder"], result["dry_run"]) == (False, str(folder), CLEAN)
    assert result["not_run"][-1] == "bitstream" and not (folder / "overlay").exists()


def test_a_dry_run_asks_for_no_tool_and_looks_for_none(workshop, capsys, monkeypatch, tmp_path):
    workshop.add("vivado", "vitis-run")
    code, out, err = command(capsys, monkeypatch, "build", "--dry-run", "--out", "here", "--clock", "125")
    assert (code, err) == (0, "") and "no tool was run" in out and not (tmp_path / "here" / "fake_runs").exists()
    assert json.loads((tmp_path / "here" / "design.json").read_text())["clock_mhz"] == 125.0


def test_a_whole_build_with_reports_package_and_archive(workshop, capsys, monkeypatch, tmp_path):
    workshop.add("vivado", "vitis-run")
    code, out, err = command(capsys, monkeypatch, "build", "--jobs", "3", "--json", "r.json")
    folder = tmp_path / "build" / "digits-pynq-z2"
    assert code == 0, err
    assert "[1/6] hls (hls_digits_kernel) ..." in err and "[6/6] bitstream: done in" in err  # plain lines in a file
    assert "timing met: worst slack 0.412 ns (setup)" in out and "by Vivado's estimate, not measured" in out
    assert "latency 1,234, interval 567 cycles by high-level synthesis" in out
    package = read_package(folder / "overlay")
    assert not package.emulation and package.design.name == "digits"
    (result,) = json.loads((tmp_path / "r.json").read_text())["overlays"]
    assert result["built"] and result["not_run"] == [] and Path(result["archive"]).is_file()
    assert result["record"]["reports"]["utilization"]["lut"]["used"] == 21234
    code, _, err = command(capsys, monkeypatch, "build")
    assert code == 0 and err.count("done before") == 6


def test_only_high_level_synthesis_is_there(workshop, capsys, monkeypatch, tmp_path):
    workshop.add("vitis_hls")
    code, out, err = command(capsys, monkeypatch, "build")
    assert code == 5 and "not found on PATH: Vivado (vivado)." in err and "scripts/shell.tcl" in out.split("not run")[1]
    assert "[1/1] hls (hls_digits_kernel): done" in err


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (("synthesis", "licence"), ("| ERROR: [Common 17-345]", "synthesis failed, licence", "XILINXD_LICENSE_FILE")),
        (
            ("implementation", "timing"),
            ("| Slack (VIOLATED)", "implementation failed, timing", "timing.rpt", "--reuse"),
        ),
        (("design", "crash"), ("Segmentation fault", "design failed, crash", "logs/design.log")),
    ],
)
def test_failures_show_the_decisive_lines_and_end_with_one_error(workshop, capsys, monkeypatch, fault, words):
    workshop.add("vivado", "vitis-run")
    workshop.fault = fault
    code, _, err = command(capsys, monkeypatch, "build", "--json", "r.json")
    assert code == 3 and all(word in err for word in words) and "Traceback" not in err
    assert err.splitlines()[-1].startswith("error: ")
    (result,) = json.loads(Path("r.json").read_text())["overlays"]
    assert not result["built"] and result["error"]["cause"] in result["error"]["message"]
    workshop.fault = None
    code, _, err = command(capsys, monkeypatch, "build")
    assert code == 0 and "done before" in err


def test_an_interruption_says_how_to_go_on(workshop, capsys, monkeypatch, tmp_path):
    workshop.add("vivado", "vitis-run")
    workshop.fault = ("synthesis", "wait")
    marker = tmp_path / "build" / "digits-pynq-z2" / "fake_pids"

    def interrupt():
        deadline = time.monotonic() + 30
        while not marker.is_file() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    code, _, err = command(capsys, monkeypatch, "build")
    thread.join()
    assert code == 130 and "the same command goes on where it was" in err and err.endswith("interrupted\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--overlay", "digit"), "known: digits, operators, gaincell, all"),
        (("m.onnx", "--overlay", "all"), "leave out m.onnx"),
        (("m.onnx", "--overlay", "operators"), "leave out m.onnx"),
        (("--overlay", "operators", "--reuse", "4"), "takes no choice of reuse_factor"),
        (("--overlay", "gaincell", "--io", "io_parallel"), "takes no choice of io_type"),
        (("--jobs", "0"), "--jobs must be from 1"),
        (("--clock", "5000"), "--clock must be from 1 to 1000 MHz"),
        (("--board", "zedboard"), "Unknown board 'zedboard'"),
        (("missing.onnx",), "missing.onnx"),
    ],
)
def test_wrong_usage_writes_nothing(workshop, capsys, monkeypatch, tmp_path, arguments, message):
    code, out, err = command(capsys, monkeypatch, "build", *arguments)
    assert code == 2 and message in err and out == "" and not (tmp_path / "build").exists()


def test_a_folder_of_something_else_is_refused(workshop, capsys, monkeypatch, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    code, _, err = command(capsys, monkeypatch, "build", "--out", tmp_path)
    assert code == 3 and "choose another --out" in err and not (tmp_path / "scripts").exists()


def test_the_model_of_a_user_gives_the_overlay_its_name(workshop, capsys, monkeypatch, tmp_path):
    source = Path(verb.__file__).parents[2] / "models" / "zoo" / "digits_vit" / "softmax.onnx"
    (tmp_path / "my-model.onnx").write_bytes(source.read_bytes())
    code, _, _ = command(
        capsys, monkeypatch, "build", "my-model.onnx", "--dry-run", "--board", "zcu104", "--reuse", "8"
    )
    assert code == 0 and (tmp_path / "build" / "my_model-zcu104" / "design.json").is_file()


def test_the_display_on_a_terminal_and_in_a_file(monkeypatch):
    script = Script("design", "design", "vivado", "", (), ())
    shown = {}
    for terminal in (True, False):
        stream = StringIO()
        console = Console(file=stream, force_terminal=terminal, width=100)
        with BuildDisplay(console) as display:
            display.begin(script, 2, 6)
            display.phase("routing")
            display._live.refresh()
            monkeypatch.setattr(build_display, "QUIET_S", 0.0)
            display.phase("writing the bitstream")
            monkeypatch.undo()
            display.end(script, 4000)
            display.kept(script)
        shown[terminal] = stream.getvalue()
    assert "\x1b[" in shown[True] and "[2/6] design: routing" in shown[True]
    assert shown[False].splitlines() == [
        "[2/6] design ...",
        "[2/6] design: writing the bitstream",
        "[2/6] design: done in 1 h 6 min",
        "design: done before",
    ]


def test_durations():
    assert [duration(s) for s in (3.14159, 75, 3700)] == ["3.1 s", "1 min 15 s", "1 h 1 min"]


def test_help_names_every_overlay():
    done = subprocess.run(
        [sys.executable, "-c", "from hls4attn.host.cli import main; main()", "build", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "160"},
    )
    assert "digits (or any MODEL), operators, gaincell or all" in done.stdout


# --- the real scripts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_whole_chain_up_to_the_tools(capsys, monkeypatch, tmp_path, overlay):
    """Model, kernels, shell, scripts and dry run as they are, on a machine without Vivado."""
    monkeypatch.setenv("PATH", os.defpath)
    code, out, err = command(capsys, monkeypatch, "build", "--overlay", overlay, "--dry-run", "--out", tmp_path / "b")
    assert code == 0, err
    assert f"{overlay} for pynq-z2" in out and "clean (" in out and "all as in the handoff" in out
    written = {p.relative_to(tmp_path / "b").as_posix() for p in (tmp_path / "b").rglob("*") if p.is_file()}
    assert {"design.json", *(f"scripts/{stage}.tcl" for stage in STAGES[2:])} <= written
    assert any(name.startswith("rtl/") for name in written) and any(name.endswith("_kernel.cpp") for name in written)


def test_a_build_with_the_real_scripts_goes_through_the_fake_tools(capsys, monkeypatch, tmp_path):
    workshop = Workshop(tmp_path, monkeypatch)
    written = verb._recipe

    def recipe(plan, folder):
        made = written(plan, folder)
        workshop.set(made.scripts, plan.design)
        return made

    monkeypatch.setattr(verb, "_recipe", recipe)
    code, out, err = command(capsys, monkeypatch, "build", "--out", tmp_path / "b")
    assert code == 0, err
    assert read_package(tmp_path / "b" / "overlay").design.name == "digits" and "timing met" in out
    assert JOBS in (tmp_path / "b" / "scripts" / "synthesis.tcl").read_text()


def test_what_the_dry_run_finds_stops_the_build(capsys, monkeypatch, tmp_path):
    workshop = Workshop(tmp_path, monkeypatch)
    written = verb._recipe

    def recipe(plan, folder):
        made = written(plan, folder)
        scripts = tuple(
            replace(s, text=s.text.replace("validate_bd_design", "validate_bd_desing")) for s in made.scripts
        )
        workshop.set(scripts, plan.design)
        return replace(made, scripts=scripts)

    monkeypatch.setattr(verb, "_recipe", recipe)
    code, _, err = command(capsys, monkeypatch, "build", "--out", tmp_path / "b")
    assert code == 3 and "validate_bd_desing" in err and "Nothing was run" in err
    assert not (tmp_path / "b" / "fake_runs").exists()


@pytest.mark.parametrize(
    ("errors", "code", "told"),
    [
        ({"digits": BuildError("no licence")}, 3, "1 of 3 overlays failed: digits"),
        (
            {"digits": ModelFileError("no model"), "gaincell": BuildError("x")},
            3,
            "2 of 3 overlays failed: digits, ",
        ),
        ({"operators": ModelFileError("no model")}, 2, "1 of 3 overlays failed: operators"),
        ({}, 5, "No bitstream of digits, operators, gaincell"),
    ],
)
def test_all_goes_on_after_a_failure_and_ends_as_the_worst(workshop, capsys, monkeypatch, tmp_path, errors, code, told):
    def one(_out, _err, plan, folder, _job):
        asked.append(folder.relative_to(tmp_path).as_posix())
        if plan.design.name in errors:
            raise errors[plan.design.name]
        return {"overlay": plan.design.name, "built": False, "missing": ["Vivado (vivado)"]}

    def plan(name, _model, board, *_):
        return SimpleNamespace(design=make_design(name=name, on=board))

    asked: list[str] = []
    monkeypatch.setattr(verb, "_build_one", one)
    monkeypatch.setattr(verb, "make_plan", plan)
    found, _, err = command(capsys, monkeypatch, "build", "--overlay", "all", "--out", "o", "--json", "r.json")
    assert found == code and told in err and all(f"{name}: {error}" in err for name, error in errors.items())
    assert asked == [f"o/{name}-pynq-z2" for name in OVERLAYS]
    rows = json.loads((tmp_path / "r.json").read_text())["overlays"]
    assert [row["overlay"] for row in rows if "error" in row] == [name for name in OVERLAYS if name in errors]
