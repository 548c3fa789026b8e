# SPDX-License-Identifier: Apache-2.0
"""Which open overlay owns a device: a second one would configure the logic away from under the first."""

from __future__ import annotations

import weakref
from typing import Any, Protocol

from hls4attn.models.errors import DeviceError


class Owner(Protocol):
    """What owns a device: an overlay that may be in the middle of configuring it."""

    loading: bool

    @property
    def owner_name(self) -> str:
        """How to call it in an error."""


_owners: weakref.WeakKeyDictionary[Any, weakref.ref[Any]] = weakref.WeakKeyDictionary()


def owner_of(device: Any) -> Owner | None:
    """The open overlay on a device, if any; one that was forgotten without `close` does not count."""
    reference = _owners.get(device)
    return reference() if reference is not None else None


def claim(device: Any, owner: Owner) -> None:
    """Make `owner` the owner of a device.

    Raises:
        DeviceError: if it has another one.
    """
    other = owner_of(device)
    if other is not None and other is not owner:
        raise _busy(device, other)
    _owners[device] = weakref.ref(owner)


def release(device: Any, owner: Owner) -> None:
    """Give the device back, if it is `owner`'s."""
    if owner_of(device) is owner:
        del _owners[device]


def refuse_if_busy(device: Any) -> None:
    """Refuse to reconfigure a device in use.

    Raises:
        DeviceError: if an overlay is open on it that is not configuring it itself just now.
    """
    owner = owner_of(device)
    if owner is not None and not owner.loading:
        raise _busy(device, owner)


def _busy(device: Any, owner: Owner) -> DeviceError:
    return DeviceError(f"Device busy: overlay {owner.owner_name!r} is open on {device.tag}. Call its close() first")
