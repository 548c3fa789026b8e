# SPDX-License-Identifier: Apache-2.0
"""One owner a device: among overlays, after a fork, and of a real device among processes."""

import gc
import os
import subprocess
import sys

import pytest
from dense_model import dense, random_codes
from driven import works

from hls4attn.host.errors import DeviceBusyError
from hls4attn.models.errors import DeviceError

pynq = pytest.importorskip("pynq")
from hls4attn.host.board import ownership  # noqa: E402
from hls4attn.host.driver import load_overlay  # noqa: E402
from hls4attn.host.emulated_device import EmulatedDevice  # noqa: E402

pytestmark = pytest.mark.usefixtures("pynq_state")


class RealDevice:
    """What ownership needs of a device that is not emulated."""

    tag = "board 0/x"


class Overlay:
    loading = False
    owner_name = "nn"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "FOLDER", tmp_path)


CHILD = """
import sys
from pathlib import Path
from hls4attn.host.board import ownership
class RealDevice:
    tag = "board 0/x"
class Overlay:
    loading = False
    owner_name = "other"
ownership.FOLDER = Path(sys.argv[1])
device, owner = RealDevice(), Overlay()
try:
    ownership.claim(device, owner)
    print("claimed", flush=True)
    sys.stdin.read(1)
except ownership.DeviceBusyError as error:
    print(error, flush=True)
"""


def other_process(folder, **options):
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


def test_another_process_is_refused_until_it_is_closed(tmp_path) -> None:
    device, owner = RealDevice(), Overlay()
    ownership.claim(device, owner)
    ownership.claim(device, owner)  # once more by the same: as `download` does
    with other_process(tmp_path) as child:
        said, _ = child.communicate("x", timeout=30)
    assert said.strip() == (
        f"Device busy: process {os.getpid()} has an overlay open on board 0/x. Close it there first"
    )
    ownership.release(device, owner)
    with other_process(tmp_path) as child:
        assert child.stdout.readline().strip() == "claimed"
        with pytest.raises(DeviceBusyError, match=f"process {child.pid} has an overlay open"):
            ownership.claim(device, owner)
        child.kill()  # the system drops the lock of a process that died
        child.wait(30)
        ownership.claim(device, owner)
    ownership.release(device, owner)


def test_a_forgotten_owner_gives_the_lock_back(tmp_path) -> None:
    device, owner = RealDevice(), Overlay()
    ownership.claim(device, owner)
    del owner
    gc.collect()
    with other_process(tmp_path) as child:
        assert child.communicate("x", timeout=30)[0].strip() == "claimed"
    ownership.claim(device, again := Overlay())
    ownership.release(device, again)


def test_a_lock_is_never_opened_through_a_link(tmp_path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    ownership.lock_path(RealDevice()).symlink_to(target)
    with pytest.raises(DeviceError, match=r"hls4attn-board_0_x\.lock: cannot be opened to lock board 0/x"):
        ownership.claim(RealDevice(), Overlay())
    assert target.read_text() == "precious"


def test_emulated_boards_have_no_lock(tmp_path, package) -> None:
    """Each process has its own."""
    with load_overlay(package(), EmulatedDevice("pynq-z2"), dense):
        assert list(tmp_path.glob("*.lock")) == []


def test_a_forked_process_does_not_touch_the_device(overlay) -> None:
    works(overlay)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            overlay.model.predict_codes(random_codes(2))
            os.write(write, b"it did")
        except DeviceBusyError as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    assert said.startswith(f"Process {os.getpid()} owns the device; this one, {child}, was forked from it")
    works(overlay)


def test_every_user_of_a_board_may_open_the_lock(tmp_path) -> None:
    before = os.umask(0o077)
    try:
        ownership.claim(device := RealDevice(), owner := Overlay())
    finally:
        os.umask(before)
    assert ownership.lock_path(device).stat().st_mode & 0o777 == 0o666
    ownership.release(device, owner)


def test_somebody_elses_lock_is_opened_as_linux_wants_it(monkeypatch) -> None:
    """fs.protected_regular: in /tmp, not even root opens a file of another user with O_CREAT."""
    opened = os.open

    def protected(path, flags, *mode):
        if flags & os.O_CREAT and os.path.exists(path):  # noqa: PTH110
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, flags, *mode)

    monkeypatch.setattr(ownership.os, "open", protected)
    for _ in range(2):
        ownership.claim(device := RealDevice(), owner := Overlay())
        ownership.release(device, owner)
