# SPDX-License-Identifier: Apache-2.0
"""What points do in the tests of sweeps: functions of the settings, called in processes of their own."""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def echo(settings: dict) -> dict:
    return {"number": settings["number"], "pid": os.getpid()}


def hang(settings: dict) -> dict:
    """Waits for ever, with a child that waits too, one of them in a session of its own."""
    code = "import time; time.sleep(1000)"
    pids = [os.getpid()]
    for own in (False, True):
        pids.append(subprocess.Popen([sys.executable, "-c", code], start_new_session=own).pid)
    part = Path(settings["pids"]).with_suffix(".part")
    part.write_text(json.dumps(pids))
    part.replace(settings["pids"])
    print("waiting", flush=True)
    time.sleep(1000)
    return {}


def fail(settings: dict) -> dict:
    print("before the error")
    raise ValueError("no such\nthing")


def crash(settings: dict) -> dict:
    ctypes.string_at(0)
    return {}


def end(settings: dict) -> dict:
    os._exit(settings.get("code", 3))


def be_killed(settings: dict) -> dict:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def be_killed_oddly(settings: dict) -> dict:
    os.kill(os.getpid(), 40)  # one of those without a name
    return {}


def sleep(settings: dict) -> dict:
    time.sleep(20)
    return {}


def chatter(settings: dict) -> dict:
    """Prints 100 MB."""
    line = "x" * 99 + "\n"
    for number in range(1000):
        sys.stdout.write(line * 1000)
        sys.stdout.flush()
        print(f"block {number}", file=sys.stderr)
    return {"number": settings["number"]}


def huge(settings: dict) -> dict:
    return {"text": "x" * 20_000_000}


def leave_files(settings: dict) -> dict:
    import tempfile

    folder = tempfile.mkdtemp()
    (Path(folder) / "file").write_text("left")
    return {"folder": folder}


def log_times(settings: dict) -> dict:
    """Notes when it began and ended; where it is to meet another one, it waits for that."""
    start = time.time()
    if "met" in settings:
        (Path(settings["met"]) / str(settings["number"])).touch()
        while len(list(Path(settings["met"]).iterdir())) < 2 and time.time() - start < 20:
            time.sleep(0.01)
    time.sleep(settings.get("sleep", 0.2))
    with Path(settings["log"]).open("a") as file:
        file.write(json.dumps([settings["number"], start, time.time()]) + "\n")
    return {"number": settings["number"]}


def kill_worker(settings: dict) -> dict:
    """Kills the Dask worker that it runs for, so many times; then it is well."""
    marks = Path(settings["marks"])
    if len(list(marks.iterdir())) < settings["times"]:
        (marks / f"{time.time_ns()}").write_text("")
        os.kill(int(settings.get("worker") or worker_pid()), signal.SIGKILL)
        time.sleep(1000)
    return {"number": settings["number"]}


def worker_pid() -> int:
    """Evaluation -> keeper -> zygote -> Dask worker."""
    pid = os.getpid()
    for _ in range(3):
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return pid


def unwanted_at_first(settings: dict, *_: object) -> dict:
    """What a worker does for a point, the first of which is cancelled for a moment."""
    answer = {"metrics": echo(settings), "seconds": 0.0, "log": "", "error": "", "worker": "w"}
    with contextlib.suppress(FileExistsError), Path(settings["mark"]).open("x"):
        return answer | {"status": "unwanted", "metrics": {}}
    return answer | {"status": "ok"}


def by_name(settings: dict) -> dict:
    """The stub that the settings name."""
    return globals()[settings.get("stub", "echo")](settings)
