# SPDX-License-Identifier: Apache-2.0
"""One point in a process of its own: whatever it does, it ends, leaves nothing behind, and tells what happened."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hls4attn.host.sweep import child, keeper, messages, work
from hls4attn.host.sweep.child import run_child, zygotes
from hls4attn.models.errors import InputError, MismatchError

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def stubs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))


@pytest.fixture(autouse=True, scope="module")
def no_processes_stay() -> Iterator[None]:
    yield
    for pid in zygotes.pids():
        os.kill(pid, signal.SIGKILL)


def run(name: str, timeout_s: float = 60.0, wanted: Callable[[], bool] = lambda: True, **settings: object) -> dict:
    return run_child(f"sweep_stubs:{name}", settings, timeout_s, wanted)


def alive(pid: int) -> bool:
    """Whether a process runs: one that nobody has reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def all_gone(pids: list[int]) -> bool:
    return within(60, lambda: not any(map(alive, pids)))


def within(seconds: float, true: Callable[[], object]) -> bool:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def test_the_result_comes_back_from_a_process_of_its_own() -> None:
    first, second = run("echo", number=1), run("echo", number=2)
    assert [first["status"], first["error"], first["metrics"]["number"]] == ["ok", "", 1]
    assert len({first["metrics"]["pid"], second["metrics"]["pid"], os.getpid()}) == 3
    assert all_gone([first["metrics"]["pid"]])


def test_starting_costs_less_than_an_interpreter_with_numpy() -> None:
    """The shortest of each, since others use the machine, too."""

    def shortest(times: int, what: Callable[[], object]) -> float:
        spent = []
        for _ in range(times):
            start = time.monotonic()
            what()
            spent.append(time.monotonic() - start)
        return min(spent)

    run("echo", number=0)
    interpreter = shortest(3, lambda: subprocess.run([sys.executable, "-c", "import numpy"], check=True))
    assert shortest(20, lambda: run("echo", number=1)) < interpreter / 2


def test_an_exception_is_one_line_and_its_traceback_is_in_the_log() -> None:
    found = run("fail")
    assert (found["status"], found["error"]) == ("failed", "ValueError: no such thing")
    assert found["log"].startswith("before the error\nTraceback") and "sweep_stubs.py" in found["log"]


def test_one_of_our_errors_is_its_message_and_keeps_its_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    error = MismatchError("csim: 3/4 mismatches")
    error.metrics = {"mismatches": 3}  # type: ignore[attr-defined]

    def fails(settings: object) -> dict:
        raise error

    monkeypatch.setattr(work, "find_work", lambda name: fails)
    found = work.run_work("any:thing", {})
    assert (found["status"], found["error"], found["metrics"]) == ("failed", "csim: 3/4 mismatches", {"mismatches": 3})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("crash", "killed by SIGSEGV"),
        ("be_killed", "killed by SIGKILL, perhaps for want of memory"),
        ("be_killed_oddly", "killed by signal 40"),
        ("end", "ended without a result, exit status 3"),
        ("huge", "a result of more than"),
        ("nothing_of_this_name", "names no function"),
    ],
)
def test_what_ends_without_a_result_says_how(name: str, words: str) -> None:
    found = run(name)
    assert found["status"] == "failed" and words in found["error"]


def test_a_crash_leaves_the_stack_in_the_log() -> None:
    assert "sweep_stubs.py" in run("crash")["log"]


def test_a_hanging_point_ends_with_all_that_it_started(tmp_path: Path) -> None:
    for limit in (1, 5, 25):  # on a busy machine it takes a while until all of it hangs
        start = time.monotonic()
        found = run("hang", timeout_s=limit, pids=str(tmp_path / "pids"))
        assert (found["status"], found["error"]) == ("timeout", f"not finished after {limit} s")
        assert limit <= found["seconds"] < time.monotonic() - start + 0.1 < limit + 60
        if found["log"] == "waiting\n":
            break
    pids = json.loads((tmp_path / "pids").read_text())
    assert len(pids) == 3 and all_gone(pids)


def test_a_time_that_is_over_at_once() -> None:
    """The process may have no group of its own yet when it is ended."""
    for _ in range(10):
        start = time.monotonic()
        found = run("sleep", timeout_s=1e-6)
        assert found["status"] == "timeout" and time.monotonic() - start < 15  # it would sleep for 20


def test_the_check_for_what_is_left_behind_sees_what_is() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert alive(process.pid)
    assert not alive(process.pid)


def test_what_is_not_wanted_any_more_ends(tmp_path: Path) -> None:
    found = run("hang", wanted=lambda: not (tmp_path / "pids").exists(), pids=str(tmp_path / "pids"))
    assert found["status"] == "unwanted"
    assert all_gone(json.loads((tmp_path / "pids").read_text()))


def test_a_hundred_megabytes_of_output_are_read_and_their_end_is_kept() -> None:
    found = run("chatter", number=5)
    assert found["status"] == "ok" and found["metrics"] == {"number": 5}
    note, _, rest = found["log"].partition("\n")
    assert note.startswith("[99,") and note.endswith("bytes of output before this are left out]")
    assert len(rest) == messages.LOG_BYTES and rest.endswith("x" * 99 + "\nblock 999\n")


def test_temporary_files_go_with_the_process(tmp_path: Path) -> None:
    found = run("leave_files")
    assert found["status"] == "ok" and not Path(found["metrics"]["folder"]).exists()


def test_points_run_side_by_side() -> None:
    answers: list[dict] = []
    threads = [threading.Thread(target=lambda n=n: answers.append(run("echo", number=n))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(a["metrics"]["number"] for a in answers) == list(range(8))


def test_a_zygote_that_was_killed_is_replaced() -> None:
    run("echo", number=0)
    before = zygotes.pids()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    assert run("echo", number=1)["metrics"]["number"] == 1
    assert set(zygotes.pids()).isdisjoint(before)


def test_imports_that_never_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of a point begins after them, so they have one of their own."""
    (tmp_path / "never_there.py").write_text("import time\n\n\ndef prepare():\n    time.sleep(1000)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(child, "START_S", 0.1)
    before = set(zygotes.pids())
    found = run_child("never_there:f", {}, 0.2)
    assert (found["status"], found["error"]) == ("timeout", "neither begun nor ended 0.1 s after its time of 0.2 s")
    assert within(20, lambda: set(zygotes.pids()) <= before)


def test_no_room_for_an_evaluation_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keeper.tempfile, "mkdtemp", full)
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            ours.sendall(messages.pack({"work": "sweep_stubs:echo", "settings": {}, "timeout_s": 1}))
            keeper.keep(theirs)
        answer = messages.receive(ours)
    assert answer["status"] == "failed"
    assert answer["error"] == "the evaluation could not begin: [Errno 28] No space left on device"


def test_no_orphans_of_a_worker_that_was_killed(tmp_path: Path) -> None:
    """The process that stands for a Dask worker dies; keeper, evaluation and its children follow, and so the zygote."""
    code = (
        f"import sys; sys.path[:] = {[str(HERE), *sys.path]!r}\n"
        "from hls4attn.host.sweep.child import run_child, zygotes\n"
        "zygotes.open('sweep_stubs:hang').close()\n"
        "print(zygotes.pids()[0], flush=True)\n"
        f"run_child('sweep_stubs:hang', {{'pids': {str(tmp_path / 'pids')!r}}}, 100)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        zygote = int(process.stdout.readline())
        assert within(60, (tmp_path / "pids").exists)
        process.kill()
    assert all_gone([zygote, *json.loads((tmp_path / "pids").read_text())])


@pytest.mark.parametrize("name", ["nothing", "no.such.module:f", "sweep_stubs:nothing", "sweep_stubs:Path.home", ":"])
def test_a_function_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="MODULE:FUNCTION"):
        work.find_work(name)
