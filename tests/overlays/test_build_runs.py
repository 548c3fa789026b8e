# SPDX-License-Identifier: Apache-2.0
"""Running the scripts of a build with stand-ins for the tools: success, failures, interruption, going on."""

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from overlay_designs import make

from hls4attn.models.errors import BuildError, ModelFileError, SpecError, ToolError
from hls4attn.overlays.building.diagnosis import StageError
from hls4attn.overlays.building.finish import finish
from hls4attn.overlays.building.folder import Recipe, claim, locked, write_folder
from hls4attn.overlays.building.handoff import PLACES
from hls4attn.overlays.building.process import Tail
from hls4attn.overlays.building.results import build_record
from hls4attn.overlays.building.runner import run_scripts
from hls4attn.overlays.building.state import State
from hls4attn.overlays.building.tools import find_tools, missing
from hls4attn.overlays.hwh import build_hwh
from hls4attn.overlays.package import read_package
from hls4attn.overlays.scripts import Script
from tests.fake_vivado.workshop import TOOL, Workshop, runs, sample_recipe, sample_scripts

ALL = ["hls_nn_kernel", "shell", "design", "synthesis", "implementation", "bitstream"]


class Listener:
    def __init__(self):
        self.phases, self.events = [], []

    def begin(self, script, number, count):
        self.events.append(("begin", script.name, number, count))

    def phase(self, text):
        self.phases.append(text)

    def end(self, script, seconds):
        self.events.append(("end", script.name))

    def kept(self, script):
        self.events.append(("kept", script.name))


@pytest.fixture
def workshop(tmp_path, monkeypatch):
    return Workshop(tmp_path, monkeypatch)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "nn-pynq-z2"


def build(folder, workshop, design=None, release="2024.1", fault=None, listener=None):
    """Write the folder and run its scripts."""
    design = design or make()
    with locked(folder) as lock:
        claim(folder, design)
        recipe = sample_recipe(design, folder)
        workshop.set(recipe.scripts, design, release, fault)
        write_folder(recipe, folder)
        return recipe, run_scripts(recipe, folder, find_tools(), listener or Listener(), lock=lock, jobs=3)


def test_a_whole_build(folder, workshop):
    listener = Listener()
    _, outcome = build(folder, workshop, listener=listener)
    assert list(outcome.ran) == ALL and not outcome.kept and not outcome.waiting
    assert (folder / "fake_runs").read_text().splitlines()[0] == "hls_nn_kernel 3"  # --jobs reaches the scripts
    assert listener.events[:2] == [("begin", "hls_nn_kernel", 1, 6), ("end", "hls_nn_kernel")]
    assert "synthesising" in listener.phases and "Placer Initialization" in listener.phases
    assert "Placer" in (folder / "logs" / "design.log").read_text()
    assert json.loads((folder / "design.json").read_text())["name"] == "nn"


def test_nothing_runs_twice_and_changes_run_again_from_where_they_are(folder, workshop):
    build(folder, workshop)
    runs(folder)
    _, outcome = build(folder, workshop)
    assert runs(folder) == [] and list(outcome.kept) == ALL
    (folder / "out" / "nn.bit").write_bytes(b"edited")
    build(folder, workshop)
    assert runs(folder) == ["bitstream"]
    (folder / "vivado" / "synth.dcp").unlink()
    build(folder, workshop)
    assert runs(folder) == ["synthesis", "implementation", "bitstream"]


def test_other_sources_or_tools_run_everything_that_follows_from_them(folder, workshop):
    recipe, _ = build(folder, workshop)
    runs(folder)
    with locked(folder) as lock:
        (folder / "hls/nn_kernel/top.cpp").write_text("void top() { /* changed */ }\n")
        run_scripts(recipe, folder, find_tools(), Listener(), lock=lock, jobs=1)
    assert runs(folder) == ALL
    build(folder, workshop)  # writes the first source again
    assert runs(folder) == ALL
    build(folder, workshop, release="2025.1")
    assert runs(folder) == ALL


def test_a_rewritten_project_file_is_no_change(folder, workshop):
    build(folder, workshop)
    runs(folder)
    (folder / "vivado" / "overlay.xpr").write_text("rewritten by a later stage")
    build(folder, workshop)
    assert runs(folder) == []


@pytest.mark.parametrize(
    ("where", "kind", "cause", "told"),
    [
        ("hls_nn_kernel", "licence", "licence", "Common 17-345"),
        ("synthesis", "licence", "licence", "XILINXD_LICENSE_FILE"),
        ("implementation", "timing", "timing", "-0.731 ns (setup)"),
        ("implementation", "crash", "crash", "Segmentation fault"),
        ("synthesis", "killed", "killed", "memory"),
        ("shell", "disk", "disk full", "--out"),
        ("design", "script", "error", "BD 5-390"),
        ("synthesis", "run", "error", "missing_cell"),
        ("bitstream", "silent", "missing output", "left no out/nn.bit"),
    ],
)
def test_failures_say_stage_cause_and_log_and_the_build_goes_on_there(folder, workshop, where, kind, cause, told):
    with pytest.raises(StageError) as caught:
        build(folder, workshop, fault=(where, kind))
    error = caught.value
    assert error.exit_code == 3 and error.cause == cause and told in str(error)
    assert error.stage == next(s.stage for s in sample_scripts(make()) if s.name == where)
    assert error.log is not None and error.log.is_file() and str(error.log) in str(error)
    before = runs(folder)
    assert before[-1:] != ["bitstream"]
    done = ALL[: ALL.index(where)]
    assert sorted(State.read(folder).done) == sorted(done)
    build(folder, workshop)
    assert runs(folder) == ALL[len(done) :]


def test_results_of_an_earlier_run_do_not_pass_for_new_ones(folder, workshop):
    build(folder, workshop)
    (folder / "hls/nn_kernel/top.cpp").unlink()
    with pytest.raises(StageError, match="left no out/nn.bit"):
        build(folder, workshop, release="2025.1", fault=("bitstream", "silent"))
    assert not (folder / "out" / "nn.bit").exists()


def test_an_error_in_the_log_of_an_earlier_run_is_not_blamed(folder, workshop):
    old = folder / "vivado" / "overlay.runs" / "impl_1" / "runme.log"
    with pytest.raises(StageError):
        build(folder, workshop, fault=("bitstream", "silent"))
    old.parent.mkdir(parents=True, exist_ok=True)
    old.write_text("ERROR: [Common 17-345] A valid license was not found\n")
    os.utime(old, (0, 0))
    with pytest.raises(StageError, match="left no out/nn.bit"):
        build(folder, workshop, fault=("bitstream", "silent"))


def test_a_lost_input_is_named(folder, workshop):
    recipe, _ = build(folder, workshop)
    (folder / "rtl" / "top.v").unlink()
    with locked(folder) as lock, pytest.raises(StageError, match=r"rtl/top\.v not there"):
        run_scripts(recipe, folder, find_tools(), Listener(), lock=lock, jobs=1)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_for(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_stops_the_tool_with_its_children_and_the_build_goes_on(folder, workshop, sign):
    marker = folder / "fake_pids"

    held = []

    def interrupt():
        wait_for(lambda: marker.is_file() and len(marker.read_text().split()) == 2)
        tool = marker.read_text().split()[0]
        held.extend(path.readlink().name for path in Path(f"/proc/{tool}/fd").iterdir())
        os.kill(os.getpid(), sign)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        build(folder, workshop, fault=("synthesis", "wait"))
    thread.join()
    assert ".lock" in held  # the tool keeps others away even if this process is killed
    assert not any(alive(pid) for pid in marker.read_text().split())
    assert runs(folder) == ALL[:3]
    build(folder, workshop)
    assert runs(folder) == ALL[3:]


def test_one_build_at_a_time_even_if_only_its_tool_is_left(folder, workshop):
    folder.mkdir()
    with locked(folder), pytest.raises(BuildError, match=f"process {os.getpid()}"), locked(folder):
        pass
    with locked(folder) as lock:
        orphan = subprocess.Popen(["sleep", "600"], pass_fds=[lock])
    try:
        with pytest.raises(BuildError, match="a tool that it left behind"), locked(folder):
            pass
    finally:
        orphan.kill()
        orphan.wait()
    with locked(folder):
        pass


def test_a_folder_that_is_no_build_is_left_alone(folder, workshop):
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")
    with locked(folder), pytest.raises(BuildError, match="no build folder"):
        claim(folder, make())
    assert {p.name for p in folder.iterdir()} == {"thesis.tex", ".lock"}


@pytest.mark.parametrize(
    ("scripts", "match"),
    [
        ([("hls", "a", ("../x",)), ("shell", "b", ())], "inside its folder"),
        ([("hls", "a", ("/x",)), ("shell", "b", ())], "inside its folder"),
        ([("hls", "a", ()), ("shell", "a", ())], "Two scripts"),
        ([("shell", "a", ()), ("hls", "b", ())], "order"),
    ],
)
def test_scripts_that_cannot_be_are_refused(scripts, match):
    with pytest.raises(SpecError, match=match):
        Recipe(make(), tuple(Script(stage, name, "vivado", "", (), writes) for stage, name, writes in scripts))


# --- tools ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("launchers", "taken", "arguments"),
    [
        (("vivado_hls", "vivado"), "vivado_hls", ["-f", "scripts/x.tcl"]),
        (("vivado_hls", "vitis_hls", "vivado"), "vitis_hls", ["-f", "scripts/x.tcl"]),
        (("vitis_hls", "vitis-run", "vivado"), "vitis-run", ["--mode", "hls", "--tcl", "scripts/x.tcl"]),
    ],
)
def test_the_newest_launcher_is_taken(tmp_path, monkeypatch, launchers, taken, arguments):
    workshop = Workshop(tmp_path, monkeypatch, launchers)
    workshop.set((), make(), "2020.1")
    tools = find_tools()
    assert tools["hls"].launcher == taken and tools["hls"].version == (2020, 1)
    assert tools["hls"].command(Script("hls", "x", "hls", "", (), ()))[1:] == arguments
    assert tools["vivado"].command(Script("shell", "x", "vivado", "", (), ()))[-2:] == ["-source", "scripts/x.tcl"]


def test_tools_that_are_missing_too_old_or_broken(tmp_path, monkeypatch):
    workshop = Workshop(tmp_path, monkeypatch, ())
    assert find_tools() == {} and len(missing({})) == 2
    for said, match in (("vivado v2019.2 (64-bit)", "2020.1 or later"), ("hello", "names no version"), ("", "nothing")):
        command = workshop.bin / "vivado"
        command.write_text(f"#!/bin/sh\necho '{said}'\n")
        command.chmod(0o755)
        with pytest.raises(ToolError, match=match):
            find_tools()


def test_without_vivado_high_level_synthesis_still_runs(tmp_path, folder, monkeypatch):
    workshop = Workshop(tmp_path, monkeypatch, ("vitis_hls",))
    _, outcome = build(folder, workshop)
    assert list(outcome.ran) == ["hls_nn_kernel"]
    assert [script.name for script in outcome.waiting] == ALL[1:]


# --- results --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on", ["pynq-z2", "zcu104"])
def test_the_finished_overlay_and_its_record(folder, workshop, on):
    design = make(on=on)
    recipe, _ = build(folder, workshop, design)
    package, record = finish(recipe, folder, find_tools())
    assert not package.emulation and read_package(package.bit).design == design
    assert json.loads((folder / "build.json").read_text()) == record
    assert record["reports"]["timing"]["met"] and record["reports"]["hls"]["nn_kernel"]["latency_max"] == 1234
    assert record["tools"]["vivado"]["release"] == "2024.1"
    assert record["sha256"].keys() == {"nn.bit", "nn.hwh", "nn.json"}
    assert record["hls4attn"]["git_revision"] is None or len(record["hls4attn"]["git_revision"]) == 40
    assert [s["name"] for s in record["scripts"] if s["done"]] == ALL


def test_a_foreign_bitstream_is_not_packed(folder, workshop):
    recipe, _ = build(folder, workshop)
    other = make(on="zcu104")
    workshop.set(recipe.scripts, other)
    (folder / "out" / "nn.bit").write_bytes((workshop.root / "real.bit").read_bytes())
    with pytest.raises(ModelFileError, match="xczu7ev"):
        finish(recipe, folder, find_tools())
    (folder / "out" / "nn.bit").unlink()
    with pytest.raises(BuildError, match="No such file"):
        finish(recipe, folder, find_tools())


def test_the_record_of_an_unfinished_build(folder, workshop):
    with pytest.raises(StageError):
        build(folder, workshop, fault=("design", "script"))
    recipe = sample_recipe(make(), folder)
    record = build_record(recipe, folder, find_tools())
    assert [s["name"] for s in record["scripts"] if s["done"]] == ALL[:2]
    assert "timing" not in record["reports"] and record["reports"]["hls"]["nn_kernel"]["interval_max"] == 567


def test_the_fake_is_not_imported_by_mistake():
    assert TOOL.is_file() and "hls4attn" not in TOOL.read_text().replace("HLS4ATTN", "")


@pytest.mark.parametrize("place", PLACES)
def test_a_drawing_that_differs_is_found_before_anything_is_synthesised(folder, workshop, place):
    def drawn(text):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(text)
        (folder / "design.json").touch()  # it is a build folder

    good = build_hwh(make())
    drawn(good.replace(b"0x40400000", b"0x40500000"))
    with pytest.raises(StageError, match="drawn otherwise than designed") as refused:
        build(folder, workshop)
    assert refused.value.stage == "design" and runs(folder) == ALL[:3]
    drawn(good)
    build(folder, workshop)
    assert runs(folder) == ALL[2:]


def test_nohup_lets_a_build_outlive_its_terminal(folder, workshop):
    marker = folder / "fake_pids"

    def hang_up():
        wait_for(lambda: marker.is_file() and len(marker.read_text().split()) == 2)
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(int(marker.read_text().split()[0]), signal.SIGKILL)

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        threading.Thread(target=hang_up, daemon=True).start()
        with pytest.raises(StageError) as ended:  # by the tool, not by the signal
            build(folder, workshop, fault=("synthesis", "wait"))
    finally:
        signal.signal(signal.SIGHUP, before)
    assert ended.value.cause == "killed"


def test_a_log_that_begins_anew_is_read_from_its_beginning(tmp_path):
    log = tmp_path / "runme.log"
    log.write_text("old line\n" * 5)
    tail = Tail(log, log.stat().st_size)
    log.write_text("new\n")
    assert tail.lines() == ["new"]


def test_a_folder_that_cannot_be_listed_is_refused_in_words(tmp_path, monkeypatch):
    def refuse(_path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(BuildError, match="Cannot read .*: Permission denied; choose another --out"):
        claim(tmp_path, make())
