# SPDX-License-Identifier: Apache-2.0
"""Which open overlay owns a device: a second one would configure the logic away from under the first.

Within a process an emulated or real device has one owner.  Of a real device there is also one owning process: a lock
on a file, which the system drops with the process, however that ends.
"""

from __future__ import annotations

import fcntl
import os
import re
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from hls4attn.host.connect import is_emulated
from hls4attn.host.errors import DeviceBusyError
from hls4attn.models.errors import DeviceError

FOLDER = Path("/tmp")  # where every user of a board may write


class Owner(Protocol):
    """What owns a device: an overlay that may be in the middle of configuring it."""

    loading: bool

    @property
    def owner_name(self) -> str:
        """How to call it in an error."""


_owners: weakref.WeakKeyDictionary[Any, weakref.ref[Any]] = weakref.WeakKeyDictionary()
_locks: weakref.WeakKeyDictionary[Any, weakref.finalize[Any, Any]] = weakref.WeakKeyDictionary()


def owner_of(device: Any) -> Owner | None:
    """The open overlay on a device, if any; one that was forgotten without `close` does not count."""
    reference = _owners.get(device)
    return reference() if reference is not None else None


def claim(device: Any, owner: Owner) -> None:
    """Make `owner` the owner of a device.

    Raises:
        DeviceBusyError: if it has another one, here or in another process.
    """
    other = owner_of(device)
    if other is not None and other is not owner:
        raise _busy(device, other)
    if other is None and not is_emulated(device):
        _release_lock(device)
        _locks[device] = weakref.finalize(owner, os.close, _lock(device))
    _owners[device] = weakref.ref(owner)


def release(device: Any, owner: Owner) -> None:
    """Give the device back, if it is `owner`'s."""
    if owner_of(device) is owner:
        del _owners[device]
        _release_lock(device)


def refuse_if_busy(device: Any) -> None:
    """Refuse to reconfigure a device in use.

    Raises:
        DeviceBusyError: if an overlay is open on it that is not configuring it itself just now.
    """
    owner = owner_of(device)
    if owner is not None and not owner.loading:
        raise _busy(device, owner)


def lock_path(device: Any) -> Path:
    """The file whose lock is the ownership of a real device, the same for all processes of a board.

    Not in the folder that TMPDIR names: that of another process may be another.
    """
    return FOLDER / f"hls4attn-{re.sub(r'[^A-Za-z0-9.-]', '_', str(device.tag))}.lock"


def _lock(device: Any) -> int:
    """Descriptor of the locked file, which holds the number of this process."""
    path = lock_path(device)
    try:
        descriptor = _open(path)
    except OSError as error:
        raise DeviceError(
            f"{path}: cannot be opened to lock {device.tag}: {error.strerror}. Remove the file if no program that "
            "uses the board is running, or run as the user who made it"
        ) from error
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise DeviceBusyError(
            f"Device busy: process {holder or '(unknown)'} has an overlay open on {device.tag}. Close it there first"
        ) from error
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor


def _open(path: Path) -> int:
    """Open a lock file for every user, and never through a link that somebody laid there.

    Without O_CREAT if it is there: Linux refuses that flag, to root too, for somebody else's file in a folder such as
    /tmp (fs.protected_regular).
    """
    with suppress(FileNotFoundError):
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    with suppress(OSError):  # made by another process meanwhile, who does the same
        os.fchmod(descriptor, 0o666)  # whatever the umask: the board has other users
    return descriptor


def _release_lock(device: Any) -> None:
    held = _locks.pop(device, None)
    if held is not None:
        held()


def _busy(device: Any, owner: Owner) -> DeviceBusyError:
    return DeviceBusyError(f"Device busy: overlay {owner.owner_name!r} is open on {device.tag}. Call its close() first")
