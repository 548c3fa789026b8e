# SPDX-License-Identifier: Apache-2.0
"""Many points on Dask: results as they arrive, deaths of workers, resources, schedulers of others, early ends."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sweep_stubs
from test_sweep_child import all_gone, stubs, within  # noqa: F401  # the fixture

from hls4attn.host.sweep import cluster, runner
from hls4attn.host.sweep.interrupts import interrupts_later
from hls4attn.host.sweep.point import Point, Result
from hls4attn.host.sweep.runner import run_points
from hls4attn.host.sweep.window import Window
from hls4attn.models.errors import InputError, ToolError
from hls4attn.models.interruption import interruptible

HERE = Path(__file__).parent


def points(count: int, resources: Mapping[str, float] | None = None, first: int = 0, **settings: Any) -> list[Point]:
    return [
        Point(settings | {"number": n}, hashlib.sha256(f"{n} {settings}".encode()).hexdigest(), resources or {})
        for n in range(first, first + count)
    ]


def run(what: list[Point], stub: str = "echo", **options: Any) -> list[Result]:
    return list(run_points(what, work=f"sweep_stubs:{stub}", **{"workers": 2, "timeout_s": 30.0} | options))


def numbers(results: list[Result]) -> list[int]:
    return sorted(r.metrics["number"] for r in results)


def by_number(results: list[Result]) -> dict[int, Result]:
    return {r.settings["number"]: r for r in results}


def intervals(log: Path) -> dict[int, tuple[float, float]]:
    return {n: (start, end) for n, start, end in map(json.loads, log.read_text().splitlines())}


def most_at_once(spans: Mapping[int, tuple[float, float]]) -> int:
    """How many of the spans overlap, at most."""
    return max(sum(a <= start < b for a, b in spans.values()) for start, _ in spans.values())


@contextmanager
def dask_scheduler(folder: Path, workers: int = 1, **options: Any) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A scheduler with workers in another process, as somebody else would have started it; by its address."""
    code = (
        f"import sys; sys.path[:] = {[str(HERE), *sys.path]!r}\n"
        "from distributed import LocalCluster\n"
        "if __name__ == '__main__':\n"
        f"    with LocalCluster(n_workers={workers}, threads_per_worker=1, dashboard_address=None,\n"
        f"                      local_directory={str(folder)!r}, **{options!r}) as cluster:\n"
        "        print(cluster.scheduler_address, flush=True)\n"
        "        input()\n"
    )
    script = folder / "scheduler.py"
    script.write_text(code)
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process
        finally:
            process.kill()


def test_results_of_all_points_and_of_each_kind_of_failure(tmp_path: Path) -> None:
    """One bad point of each kind among good ones, on one cluster: nothing stops the rest."""
    stub = "by_name"
    bad = {"fail": "failed", "crash": "failed", "hang": "timeout", "end": "failed"}
    what = points(6, stub="echo")
    for n, name in enumerate(bad, 100):
        what[3:3] = points(1, first=n, stub=name, pids=str(tmp_path / "pids"))
    for limit in (2.0, 20.0):  # on a busy machine it takes a while until all that hangs does
        results = run(what, stub, timeout_s=limit)
        if (tmp_path / "pids").exists() and [r.status for r in results].count("timeout") == 1:
            break
    assert numbers([r for r in results if r.status == "ok"]) == list(range(6))
    assert {r.settings["stub"]: r.status for r in results if r.status != "ok"} == bad
    assert {r.key for r in results} == {p.key for p in what} and len(results) == len(what)
    assert all(r.worker and (r.status == "ok") == (r.error == "") for r in results)
    assert all_gone(json.loads((tmp_path / "pids").read_text()))


def test_a_worker_that_is_killed_takes_nothing_with_it(tmp_path: Path) -> None:
    """One point kills its worker once and is well then; another always does, and is lost; the others are not."""
    for name in ("once", "always"):
        (tmp_path / name).mkdir()
    what = points(4, stub="echo")
    what += points(1, first=10, stub="kill_worker", marks=str(tmp_path / "once"), times=1)
    what += points(1, first=11, stub="kill_worker", marks=str(tmp_path / "always"), times=100)
    found = by_number(run(what, "by_name", retries=1))
    assert [found[n].status for n in (0, 1, 2, 3, 10)] == ["ok"] * 5
    assert (found[11].status, found[11].error) == ("lost", "2 workers died while they evaluated it")
    assert len(list((tmp_path / "once").iterdir())) == 1 and len(list((tmp_path / "always").iterdir())) == 2


def test_a_task_that_was_cancelled_for_a_moment_runs_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the scheduler does with one that it moves: the answer that nobody seemed to want is no result."""
    monkeypatch.setattr(runner, "run_task", sweep_stubs.unwanted_at_first)
    found = by_number(run(points(3, mark=str(tmp_path / "mark")), workers=1))
    assert [(n, found[n].status, found[n].metrics["number"]) for n in range(3)] == [(n, "ok", n) for n in range(3)]
    assert (tmp_path / "mark").exists()


@pytest.mark.parametrize("when", ["start", "end"])
def test_an_interruption_waits_for_a_cluster_that_begins_or_ends(monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """In the midst of either, it would leave processes behind, and Dask would say what it was doing."""
    from distributed import LocalCluster

    made: list[Any] = []

    class Interrupted(LocalCluster):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            made.append(self)
            if when == "start":
                signal.raise_signal(signal.SIGTERM)

        def close(self, *args: Any, **options: Any) -> Any:
            if when == "end":
                signal.raise_signal(signal.SIGINT)
            return super().close(*args, **options)

    monkeypatch.setattr("distributed.LocalCluster", Interrupted)
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt), interruptible():
        run(points(1), workers=1)
    assert [one.status.name for one in made] == ["closed"]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_cluster_that_is_slow_to_close_takes_no_result_away(monkeypatch: pytest.MonkeyPatch) -> None:
    from distributed import LocalCluster

    class Slow(LocalCluster):
        def close(self, *args: Any, **options: Any) -> Any:
            super().close(*args, **options)
            raise TimeoutError("timed out after 10 s.")

    monkeypatch.setattr("distributed.LocalCluster", Slow)
    assert numbers(run(points(2), workers=1)) == [0, 1]


@pytest.mark.parametrize("error", [RuntimeError("Nanny failed to start."), TimeoutError(), OSError(28, "No space")])
def test_workers_that_do_not_start_are_an_error_of_ours(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("distributed.LocalCluster", fails)
    with pytest.raises(ToolError, match=r"Cannot start 2 workers on this machine \(\w+Error: .*fewer --workers"):
        run(points(1))


def test_interruptions_that_wait_are_heard_whichever_thread_gets_them() -> None:
    seen = []
    with pytest.raises(KeyboardInterrupt), interrupts_later():
        other = threading.Thread(target=lambda: signal.pthread_kill(threading.get_ident(), signal.SIGINT))
        other.start()
        other.join()
        seen.append("the end")
    assert seen == ["the end"]


def test_resources_bound_what_runs_at_a_time_and_hold_nothing_else_up(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    needy = points(3, {"vivado": 1}, log=log, sleep=0.3)
    (tmp_path / "met").mkdir()
    plain = points(6, first=10, log=log, sleep=0.0, met=str(tmp_path / "met"))
    results = run(needy + plain, "log_times", workers=3, resources={"vivado": 1})
    assert numbers(results) == [*range(3), *range(10, 16)]
    spans = intervals(tmp_path / "log")
    assert most_at_once({n: s for n, s in spans.items() if n < 10}) == 1
    assert most_at_once(spans) > 1  # others ran beside them, though they come later
    assert most_at_once({n: s for n, s in spans.items() if n >= 10}) > 1  # so the bound is the resource's


def test_what_a_local_cluster_does_not_have_is_refused() -> None:
    what = [*points(1), *points(1, {"vivado": 2}, first=5)]
    with pytest.raises(InputError, match=r"needs 2 of the resource 'vivado', and 1 are there; give .*vivado=2"):
        run(what, resources={"vivado": 1})


def test_points_are_taken_as_they_are_needed() -> None:
    taken: list[int] = []
    what = (taken.append(n) or p for n, p in enumerate(points(500)))
    found = run_points(what, work="sweep_stubs:echo", workers=2)
    for count in range(1, 20):
        next(found)
        assert len(taken) <= count + 3
    found.close()


def test_dask_keeps_one_record_of_all_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one worker there are moments without a task, after each of which the scheduler would begin a new record."""
    from distributed import LocalCluster

    made: list[Any] = []

    class Seen(LocalCluster):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            made.append(self)

    monkeypatch.setattr("distributed.LocalCluster", Seen)
    found = run_points(points(60), work="sweep_stubs:echo", workers=1, isolated=False)
    assert numbers([next(found) for _ in range(60)]) == list(range(60))
    (one,) = made
    assert len(one.scheduler.extensions["spans"].spans) == 1
    assert within(30, lambda: len(one.scheduler.tasks) <= 2)  # the scheduler hears a little later what is released
    found.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timeout_s": 0.0}, "time limit"),
        ({"timeout_s": float("nan")}, "time limit"),
        ({"retries": -1}, "retries"),
        ({"resources": {"vivado": 0.0}}, "positive number"),
        ({"workers": 0}, "workers must be"),
        ({"scheduler": "tcp://127.0.0.1:1", "workers": 2}, "cluster on this machine"),
        ({"scheduler": "no address at all", "workers": None}, "no address of a Dask scheduler"),
        ({"scheduler": "xyz://a:1", "workers": None}, "no address of a Dask scheduler"),
        ({"stub": "none"}, "MODULE:FUNCTION"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        run(points(1), **options)


def test_a_scheduler_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_S", 0.5)
    with pytest.raises(ToolError, match="Nothing answers at tcp://127.0.0.1:9 within 0.5 s"):
        run(points(1), scheduler="tcp://127.0.0.1:9", workers=None)


def test_closing_the_generator_ends_what_runs_and_returns_soon(tmp_path: Path) -> None:
    what = points(1, stub="echo") + points(1, first=1, stub="hang", pids=str(tmp_path / "pids")) + points(50, first=2)
    found = run_points(what, work="sweep_stubs:by_name", workers=2, timeout_s=100)
    assert next(found).status == "ok"
    assert within(60, (tmp_path / "pids").exists)
    start = time.monotonic()
    found.close()
    assert time.monotonic() - start < 60  # it would hang for 100
    assert all_gone(json.loads((tmp_path / "pids").read_text()))


def test_a_scheduler_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results; then a sweep that is closed: the worker is free again; then workers of another version."""
    with dask_scheduler(tmp_path, resources={"vivado": 1}) as (address, process):
        options: dict[str, Any] = {"scheduler": address, "workers": None}
        what = points(3) + points(2, {"vivado": 1}, first=10)
        assert numbers(run(what, **options)) == [0, 1, 2, 10, 11]

        hanging = points(1, pids=str(tmp_path / "pids"), stub="hang") + points(1, first=1, stub="echo")
        found = run_points(hanging[::-1], work="sweep_stubs:by_name", timeout_s=100, scheduler=address)
        assert next(found).status == "ok" and within(60, (tmp_path / "pids").exists)
        found.close()
        assert all_gone(json.loads((tmp_path / "pids").read_text()))
        assert numbers(run(points(1, first=7), **options)) == [7]

        waiting = _Told()
        with pytest.raises(_StoppedError, match="1 points wait for a worker that offers licence: dask worker tcp://"):
            run(points(1, {"licence": 1}), tell=waiting, **options)

        monkeypatch.setattr(runner, "code_version", lambda: "another")
        with pytest.raises(ToolError, match=r"Worker 0@.* has other sources of hls4attn"):
            run(points(1, first=9), **options)
        monkeypatch.undo()
        monkeypatch.syspath_prepend(str(HERE))

        with pytest.raises(ToolError, match=r"went away.*start the sweep again"):
            for _ in run_points(points(200, stub="log_times", log=str(tmp_path / "log")), work="sweep_stubs:by_name",
                                scheduler=address):  # fmt: skip
                process.kill()


def test_a_scheduler_without_workers_is_waited_for_with_words(tmp_path: Path) -> None:
    with (
        dask_scheduler(tmp_path, workers=0) as (address, _),
        pytest.raises(_StoppedError, match=f"no worker is connected to {address}: waiting for one"),
    ):
        run(points(1), scheduler=address, workers=None, tell=_Told())


def test_a_scheduler_with_another_dask_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import distributed

    class Other:
        def get_versions(self, check: bool) -> dict[str, Any]:
            there = {"packages": {"distributed": distributed.__version__}}
            return {"scheduler": there, "workers": {"tcp://a": {"packages": {"distributed": "2024.1.0"}}}}

    with pytest.raises(ToolError, match=r"worker tcp://a has distributed 2024.1.0, this machine .*; install the same"):
        cluster._check_versions(Other(), "tcp://b")  # type: ignore[arg-type]


class _StoppedError(Exception):
    """Ends a test that would wait for ever, as a user's Ctrl-C does."""


class _Told:
    def __call__(self, line: str) -> None:
        raise _StoppedError(line)


def test_a_window_holds_back_what_cannot_run() -> None:
    what = points(3, {"a": 1}) + points(3, first=10) + points(2, {"b": 1}, first=20)
    window = Window(what, {"a": 1})
    workers = [(1, {"a": 5.0}), (1, {"a": 5.0})]
    first = [p.settings["number"] for p in window.take(workers)]
    assert first == [0, 10, 11] and window.held == 2  # one for each thread, and one of those with the resource
    window.done(what[0])
    assert [p.settings["number"] for p in window.take(workers)] == [1]
    window.again(what[1])
    assert [p.settings["number"] for p in window.take(workers)] == [1]
    for point in (what[1], what[3], what[4]):
        window.done(point)
    assert [p.settings["number"] for p in window.take(workers)] == [2, 12]
    assert window.missing == {"b"} and window.in_flight == 2 and not window.finished
    assert list(window.take([(1, {"b": 2.0})])) == [what[6]]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "killed"])
def test_nothing_outlives_the_one_who_started_a_local_sweep(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C goes to all processes of a terminal, which say nothing of their own; meanwhile all listen here only."""
    pids, script = tmp_path / "pids", tmp_path / "sweep.py"
    script.write_text(
        f"import sys; sys.path[:] = {[str(HERE), *sys.path]!r}\n"
        "from test_sweep_runner import points, run_points\n"
        "if __name__ == '__main__':\n"
        "    try:\n"
        f"        for _ in run_points(points(2, pids={str(pids)!r}), work='sweep_stubs:hang', workers=2): pass\n"
        "    except KeyboardInterrupt:\n"
        "        print('stopped')\n"
    )
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, cwd=tmp_path,
    ) as process:  # fmt: skip
        try:
            assert within(60, pids.exists)
            psutil = pytest.importorskip("psutil")
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            listening = [c.laddr.ip for p in family for c in p.net_connections() if c.status == "LISTEN"]
            (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()  # else the end of the block would wait for ever where the test fails
    assert len(family) > 5 and set(listening) == {"127.0.0.1"}
    assert all_gone([*(p.pid for p in family), *json.loads(pids.read_text())])
    if number == signal.SIGINT:
        assert (out, err) == ("stopped\n", "")


@pytest.mark.slow
def test_ten_thousand_points_leave_no_memory_behind(tmp_path: Path) -> None:
    """Growth of client with scheduler between a fifth of the points and all of them."""
    psutil = pytest.importorskip("psutil")
    me, sizes, done = psutil.Process(), {}, 0
    for result in run_points(points(10_000), work="sweep_stubs:echo", workers=2):
        assert result.status == "ok"
        done += 1
        if done in (2_000, 10_000):
            sizes[done] = me.memory_info().rss
    assert done == 10_000 and sizes[10_000] - sizes[2_000] < 30e6
