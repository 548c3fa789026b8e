# SPDX-License-Identifier: Apache-2.0
"""`hls4attn sweep` as a user calls it; a stand-in runs the points, except where the cluster is what is tested."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import sweep_results
from command_line import command
from rich.console import Console
from sweep_results import PLAN, in_process, result, write_plan

from hls4attn.host.cli.sweep import parse_resources
from hls4attn.host.sweep import cluster, runner, verb
from hls4attn.host.sweep import display as displays
from hls4attn.host.sweep.display import SweepDisplay
from hls4attn.host.sweep.store import Store, read_results
from hls4attn.models.errors import InputError


@pytest.fixture
def called(monkeypatch):
    """Settings of the points that were run, and what the runner was told."""
    seen = {"points": [], "options": []}

    def run(points, **options):
        seen["options"].append(options)
        for found in in_process(points, **options):
            seen["points"].append(found.settings)
            yield found

    monkeypatch.setattr(runner, "run_points", run)
    defaults = dict(zip(verb.Running.__dataclass_fields__, verb.Running.__init__.__defaults__, strict=True))
    defaults["work"] = "sweep_results:evaluate"
    monkeypatch.setattr(verb.Running.__init__, "__defaults__", tuple(defaults.values()))
    return seen


@pytest.fixture
def cli(capsys, monkeypatch):
    return lambda *arguments: command(capsys, monkeypatch, "sweep", *arguments)


@pytest.mark.parametrize("suffix", ["parquet", "sqlite"])
def test_a_sweep_and_the_same_again(tmp_path, cli, called, suffix):
    plan, file = write_plan(tmp_path), tmp_path / f"s.{suffix}"
    code, out, err = cli(plan, "--out", file, "--json", tmp_path / "j.json", "--chart", tmp_path / "c.svg")
    assert code == 0
    assert len(called["points"]) == 6
    assert "failed: score=softmax, weight_bits=6: ValueError: no six" in err
    assert "6 of 6 points; 2 failed" in err
    lines = out.splitlines()
    front = [line for line in lines if line.startswith(("softmax", "e2softmax"))]
    assert [line.split()[:4] for line in front] == [
        ["softmax", "8", "91.10%", "16"],
        ["e2softmax", "8", "91.00%", "8"],
        ["e2softmax", "4", "90.50%", "4"],
    ]
    assert "2 failed: ValueError: no six" in out
    assert "6 points run: 4 ok, 2 failed; 0 taken over;" in out
    assert "overhead" in out
    found = json.loads((tmp_path / "j.json").read_text())
    assert found["finished"] == {"ok": 4, "failed": 2, "timeout": 0, "lost": 0}
    assert "Pareto front" in (tmp_path / "c.svg").read_text()
    assert {p.name for p in tmp_path.iterdir()} == {
        *("plan.toml", "m.keras", "m.onnx", "j.json", "c.svg", f"s.{suffix}")
    }

    code, again, err = cli(plan, "--out", file)
    assert code == 0
    assert len(called["points"]) == 6
    assert "6 points are finished already and taken over, 2 of them failed" in err
    assert [line for line in again.splitlines() if line.startswith(("softmax", "e2softmax"))] == front
    assert "0 points run: 0 ok; 6 taken over" in again

    code, shown, _ = cli("--show", file)
    assert code == 0
    assert [line for line in shown.splitlines() if line.startswith(("softmax", "e2softmax"))] == front
    assert "6 of 6 points are there: 4 ok, 2 failed" in shown
    _, other, _ = cli("--show", file, "--objectives", "dsp:max")
    assert "Pareto front of 6 points: dsp:max" in other

    cli(plan, "--out", file, "--retry-failed")
    assert [s["weight_bits"] for s in called["points"][6:]] == [6, 6]


def test_an_edited_plan_reuses_what_it_can(tmp_path, cli, called):
    file = tmp_path / "s.sqlite"
    cli(write_plan(tmp_path, PLAN.replace("[4, 6, 8]", "[4, 8]")), "--out", file)
    code, out, _ = cli(write_plan(tmp_path, PLAN.replace("[4, 6, 8]", "[5, 4]")), "--out", file)
    assert code == 0
    assert [s["weight_bits"] for s in called["points"]] == [4, 8, 4, 8, 5, 5]
    assert "2 points run: 2 ok; 2 taken over" in out
    assert "Pareto front of 4 points" in out
    _, shown, _ = cli("--show", file)
    assert "2 results of earlier plans are in the file, not in the table" in shown


def test_limit_and_options_reach_the_runner(tmp_path, cli, called):
    plan, file = write_plan(tmp_path, PLAN.replace("[sweep]", '[sweep]\nsynthesise = "vivado"', 1)), tmp_path / "s.db"
    code, out, _ = cli(plan, "--out", file, "--limit", 4, "--workers", 3, "--timeout", 7, "--resources", "vivado=2")
    assert code == 0
    assert "2 points are left; the same command goes on" in out
    (options,) = called["options"]
    assert (options["workers"], options["timeout_s"], options["resources"]) == (3, 7.0, {"vivado": 2.0})
    code, out, _ = cli(plan, "--out", file)
    assert "2 points run: 1 ok, 1 failed; 4 taken over" in out
    assert called["options"][1]["resources"] == {"vivado": 1.0}  # one licence, if nobody says more
    assert called["options"][1]["timeout_s"] == 600


def test_failed_points_run_again_after_those_that_never_ran_and_in_turn(tmp_path, cli, called):
    """Else --limit would come to the same failing ones again and again, and never to the others."""
    plan, file = write_plan(tmp_path, PLAN.replace("[4, 6, 8]", "[6, 8]")), tmp_path / "s.sqlite"
    again = (plan, "--out", file, "--retry-failed", "--limit")
    cli(*again, 1)
    cli(*again, 2)
    cli(*again, 2)
    cli(*again, 1)
    ran = [(s["score"], s["weight_bits"]) for s in called["points"]]
    first, second = ("softmax", 6), ("e2softmax", 6)
    assert ran == [first, ("softmax", 8), second, ("e2softmax", 8), first, second]


def test_results_of_another_version_are_said_to_be_such(tmp_path, cli, called, monkeypatch):
    plan, file = write_plan(tmp_path), tmp_path / "s.parquet"
    mine = {"hls4attn": "1.0", "numpy": "1.26"}
    monkeypatch.setattr(verb, "versions", lambda: mine)
    cli(plan, "--out", file)
    _, _, err = cli(plan, "--out", file)
    assert "other versions" not in err
    monkeypatch.setattr(verb, "versions", lambda: mine | {"hls4attn": "1.1"})
    for _ in range(2):
        _, _, err = cli(plan, "--out", file, "--json", tmp_path / "j.json")
        assert "some results may be of other versions (hls4attn 1.0); another --out computes all" in err
    (earlier,) = read_results(file).meta["earlier_versions"]
    assert earlier == mine | {"evaluator": "test-1"}
    assert len(called["points"]) == 6


def test_the_remaining_time():
    """Rounds of as many points as run at a time, by the mean of those that ended."""
    err = Console(file=io.StringIO())
    with SweepDisplay(err, 10, 0, 4, []) as display:
        assert display.remaining_s == 0
        for number in range(2):
            display.arrived(result(number))
        assert display.remaining_s == pytest.approx(2 * 0.25)
        for number in range(7):
            display.arrived(result(number))
        assert display.remaining_s == pytest.approx(0.25)
    assert "10 of 10" not in err.file.getvalue()


def test_the_remaining_time_follows_what_shares_a_licence(tmp_path, cli, called, monkeypatch):
    seen = []
    monkeypatch.setattr(verb, "SweepDisplay", lambda *given: seen.append(given[3]) or SweepDisplay(*given))
    text = PLAN.replace("[sweep]", '[sweep]\nsynthesise = "vivado"', 1)
    for number, options in enumerate([(), ("--resources", "vivado=2"), ("--resources", "vivado=9")]):
        cli(write_plan(tmp_path, text), "--out", tmp_path / f"{number}.db", "--workers", 4, *options)
    assert seen == [1, 2, 4]


def test_the_remaining_time_goes_on_between_results(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(displays.time, "monotonic", lambda: now[0])
    err = Console(file=io.StringIO(), force_terminal=True, width=120)
    with SweepDisplay(err, 3, 0, 1, []) as display:
        display.arrived(replace(result(0), seconds=30.0))
        shown = []
        for now[0] in (100.0, 140.0, 170.0):
            (task,) = display._live.tasks
            shown.append(displays._Rest().render(task).plain)
    assert shown == ["1 min 0 s left", "20.0 s left", ""]


def test_less_of_a_resource_than_a_point_takes(tmp_path, cli, called):
    plan = write_plan(tmp_path, PLAN.replace("[sweep]", '[sweep]\nsynthesise = "vivado"', 1))
    code, _, err = cli(plan, "--out", tmp_path / "s.db", "--resources", "vivado=0.5")
    assert code == 2
    assert "--resources vivado=0.5: a point takes 1; give as much or more" in err
    assert not (tmp_path / "s.db").exists()


def test_all_points_fail(tmp_path, cli, called):
    code, out, _ = cli(write_plan(tmp_path, PLAN.replace("[4, 6, 8]", "6")), "--out", tmp_path / "s.sqlite")
    assert code == 1
    assert "no point is on the Pareto front" in out


def test_dry_run(tmp_path, cli, called):
    code, out, _ = cli(write_plan(tmp_path), "--dry-run", "--limit", 4)
    assert code == 0
    assert not called["points"]
    assert out.splitlines()[1].split() == ["1", "softmax", "4"]
    assert "and 2 more" in out
    assert "6 points, grid search; nothing was run" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Give a plan, or --show FILE"),
        (["PLAN"], "Add --out plan.parquet"),
        (["PLAN", "--out", "s.csv"], "must end in"),
        (["PLAN", "--out", "s.sqlite", "--limit", "0"], "--limit must be at least 1"),
        (["PLAN", "--out", "s.sqlite", "--json", "s.sqlite"], "choose another name"),
        (["PLAN", "--out", "s.sqlite", "--chart", "c.pdf"], "a chart must end in .png or .svg"),
        (["PLAN", "--out", "s.sqlite", "--objectives", "speed:max"], "--objectives: unknown metric 'speed'"),
        (["PLAN", "--out", "s.sqlite", "--resources", "vivado"], "--resources takes each name once"),
        (["PLAN", "--out", "s.sqlite", "--resources", "vivdo=2"], "--resources vivdo: points take only vivado"),
        (["PLAN", "--out", "s.sqlite", "--timeout", "0"], "time limit of a point must be more than 0 s"),
        (["PLAN", "--out", "s.sqlite", "--workers", "0"], "workers must be 1 to 1024"),
        (["PLAN", "--out", "s.sqlite", "--workers", "2", "--scheduler", "tcp://a:1"], "for a cluster on this machine"),
        (["--show", "s.sqlite"], "No such file"),
        (["--show", "s.sqlite", "--dry-run"], "--show runs nothing"),
        (["--show", "s.sqlite", "--limit", "2", "--retry-failed"], "runs nothing: leave --limit, --retry-failed away"),
        (["none.toml", "--dry-run"], "Cannot read the plan"),
    ],
)
def test_refused(tmp_path, monkeypatch, cli, called, arguments, words):
    monkeypatch.chdir(tmp_path)
    plan = write_plan(tmp_path)
    code, _, err = cli(*(plan if a == "PLAN" else a for a in arguments))
    assert code == 2
    assert words in " ".join(err.split())
    assert not called["points"]
    assert {p.name for p in tmp_path.iterdir()} == {"plan.toml", "m.keras", "m.onnx"}


@pytest.mark.parametrize("name", ["s.sqlite", "s.parquet"])
def test_a_scheduler_that_does_not_answer_leaves_no_file(tmp_path, cli, monkeypatch, name):
    monkeypatch.setattr(cluster, "CONNECT_S", 0.5)
    code, _, err = cli(write_plan(tmp_path), "--out", tmp_path / name, "--scheduler", "tcp://127.0.0.1:9")
    assert code == 3 and "Nothing answers at tcp://127.0.0.1:9" in err
    assert not list(tmp_path.glob("*s.*"))


def test_two_sweeps_of_one_file(tmp_path, cli, called):
    plan, file = write_plan(tmp_path), tmp_path / "s.sqlite"
    store = Store.open(file, {}, [])
    code, _, err = cli(plan, "--out", file)
    store.close()
    assert code == 2
    assert "Another sweep writes" in err


def test_resources():
    assert parse_resources(["vivado=2", "disk=0.5,gpu=1"]) == {"vivado": 2.0, "disk": 0.5, "gpu": 1.0}
    for bad in (["vivado=0"], ["=2"], ["a=1", "a=2"], ["a=inf"], ["a=nan"]):
        with pytest.raises(InputError):
            parse_resources(bad)


def test_an_interruption_keeps_what_is_finished(tmp_path, cli, called, monkeypatch):
    plan, file = write_plan(tmp_path), tmp_path / "s.parquet"
    closed = []

    def interrupted(points, **options):
        try:
            for number, result in enumerate(in_process(points, **options)):
                if number == 3:
                    os.kill(os.getpid(), signal.SIGTERM)  # a queue's way; Ctrl-C is the same from here on
                    threading.Event().wait(30)
                yield result
        finally:
            closed.append(True)

    monkeypatch.setattr(runner, "run_points", interrupted)
    before = signal.getsignal(signal.SIGTERM)
    code, _, err = cli(plan, "--out", file)
    assert code == 130
    assert closed == [True]
    assert signal.getsignal(signal.SIGTERM) == before
    text = " ".join(err.split())
    assert "3 of 6 points are finished and kept in" in text
    assert "the same command goes on with the others" in text
    assert len(read_results(file).results) == 3
    assert file.exists()
    monkeypatch.setattr(runner, "run_points", in_process)
    code, out, err = cli(plan, "--out", file)
    assert "3 points are finished already and taken over" in err
    assert "3 points run: 2 ok, 1 failed; 3 taken over" in out


RUN = """
import signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
signal.signal(signal.SIGINT, signal.default_int_handler)
if __name__ == "__main__":
    from rich.console import Console
    from hls4attn.host.sweep.verb import Outputs, Running, sweep
    running = Running(workers=2, work=sys.argv[4])
    try:
        sys.exit(sweep(Console(), Console(stderr=True), Path(sys.argv[1]), Path(sys.argv[2]), running, Outputs()))
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "killed"])
def test_a_stopped_sweep_goes_on(tmp_path, how):
    """Real workers, real processes: stopped amid the points, the next run recomputes nothing that was finished."""
    plan, file, script = write_plan(tmp_path), tmp_path / "s.parquet", tmp_path / "run.py"
    script.write_text(RUN)
    tests = str(Path(__file__).parent)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")])}

    def start(work):
        arguments = [sys.executable, str(script), str(plan), str(file), tests, f"sweep_results:{work}"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(arguments, env=environment, start_new_session=True, **pipes)

    with start("slowly") as first:
        while not (file.with_name("s.parquet.journal").exists() and read_results(file).results):
            assert first.poll() is None, first.stderr.read()
            threading.Event().wait(0.1)
        if how == signal.SIGINT:
            os.killpg(first.pid, how)  # a terminal sends it to all processes of the sweep
            _, err = first.communicate(timeout=60)
            assert first.returncode == 130
            assert "points are finished and kept in" in err
            assert "Traceback" not in err
        else:
            first.send_signal(how)
    kept = read_results(file).results
    assert kept
    assert all(r.settings["weight_bits"] == 4 for r in kept)
    with start("evaluate") as second:
        out, err = second.communicate(timeout=120)
    assert second.returncode == 0, err
    assert f"{len(kept)} points are finished already and taken over" in err
    assert f"{6 - len(kept)} points run" in out
    held = read_results(file)
    assert [r for r in held.results if r.key in {k.key for k in kept}] == kept
    assert [len(held.results), sum(r.status == "ok" for r in held.results)] == [6, 4]
    failed = next(r for r in held.results if r.status == "failed")
    assert (failed.error, "six!" in failed.log) == ("ValueError: no six", True)
    assert held.meta["versions"]["evaluator"] == sweep_results.EVALUATOR
    assert not file.with_name("s.parquet.journal").exists()
