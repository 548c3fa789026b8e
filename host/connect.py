# SPDX-License-Identifier: Apache-2.0
"""Find the board, or emulate one, and say which."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

from hls4attn.host.pynq_compat import import_pynq
from hls4attn.models.errors import DeviceError, InputError
from hls4attn.overlays.boards import board as find_board
from hls4attn.overlays.boards import load_boards

DEFAULT_BOARD = "pynq-z2"
ENVIRONMENT = "HLS4ATTN_EMULATED_BOARD"
MODEL_ENVIRONMENT = "HLS4ATTN_EMULATED_MODEL"
#: What an emulated board computes with: the compiled C++ of the kernels, or their Verilog, clock by clock.
MODELS = ("csim", "rtl")
EMULATED = "emulated:"  # begins the tag of every board that is none

_emulated: dict[str, Any] = {}  # one per name, as there is one board on the desk


def chosen_board(name: str | None = None) -> str:
    """The board to design for: the one named, else that of HLS4ATTN_EMULATED_BOARD, else `pynq-z2`.

    Raises:
        InputError: for `emulated`, which is no board's name.
        UnsupportedError: for an unknown name; the message lists the known ones.
    """
    if (name or "").startswith(EMULATED[:-1]):
        raise InputError(
            f"Here a board has its own name, such as {DEFAULT_BOARD}; it is emulated where PYNQ finds no board, and "
            f"{ENVIRONMENT}={DEFAULT_BOARD} in the environment insists on that. Received: {name!r}"
        )
    return find_board(name or os.environ.get(ENVIRONMENT) or DEFAULT_BOARD).name


def chosen_model(name: str | None = None) -> str:
    """What an emulated board computes with: the one named, else that of HLS4ATTN_EMULATED_MODEL, else `csim`.

    Raises:
        InputError: for an unknown name.
    """
    found = name or os.environ.get(MODEL_ENVIRONMENT) or MODELS[0]
    if found not in MODELS:
        raise InputError(f"An emulated board computes with {' or '.join(MODELS)}. Received: {found!r}")
    return found


def connect(
    board: str | None = None, emulated: bool | None = None, *, quiet: bool = False, model: str | None = None
) -> Any:
    """The device to run on, made PYNQ's active device.

    A real board is used if PYNQ finds one, else an emulated one.  The environment variable
    HLS4ATTN_EMULATED_BOARD asks for an emulated board of that name where neither argument says otherwise.

    Args:
        board: wanted board.  A real board of another name is refused; an emulated one is made of this name
            (`pynq-z2` if None).
        emulated: true or false to insist on an emulated or a real device.
        quiet: do not print the line that says which device it is.
        model: what an emulated board computes with: "csim", the C simulation of the kernels, whose cycles come from a
            model; or "rtl", their Verilog in Verilator, which counts clock cycles.  Without it the board goes on as
            before, at first with HLS4ATTN_EMULATED_MODEL or else the C simulation.

    Returns:
        A `pynq.Device`; a second call for the same emulated board returns the same one.

    Raises:
        ToolError: if PYNQ is missing or cannot work here.
        UnsupportedError: for a board that is not known, where one is to be emulated.
        InputError: for an unknown `model`.
        DeviceError: if the wanted device is not there, or `model` is given and the device is a real one.
    """
    pynq = import_pynq()
    model = None if model is None else chosen_model(model)
    wish = os.environ.get(ENVIRONMENT) or None
    if emulated is None and wish is not None:
        emulated = True
    device = None if emulated else _real(pynq, board)
    if device is None:
        if emulated is False:
            raise DeviceError(
                "PYNQ finds no board here. On a board, run as root with the environment of /etc/profile.d "
                "(XILINX_XRT is set there); elsewhere use connect(emulated=True)"
            )
        device = _emulate(board or wish or DEFAULT_BOARD)
    if model is not None:
        if not is_emulated(device):
            raise DeviceError(f"{device_tag(device)} computes itself: leave model={model!r} out, or add emulated=True")
        device.computes = model
    pynq.Device.active_device = device
    if not quiet:
        kind = "hardware"
        if is_emulated(device):
            by = ", by simulated RTL" if device.computes == "rtl" else ""
            kind = f"no hardware: every result is computed on this computer{by}"
        print(f"hls4attn device: {device_tag(device)} ({kind})", file=sys.stderr)
    return device


def is_emulated(device: Any) -> bool:
    """Whether a device is an emulated board of this package."""
    module = sys.modules.get("hls4attn.host.emulated_device")  # not imported: then it cannot be one
    return module is not None and isinstance(device, module.EmulatedDevice)


def device_tag(device: Any) -> str:
    """What a device is, for every result: `emulated:<board>` or `board:<name>`."""
    if is_emulated(device):
        return str(device.tag)
    if emulated_elsewhere(device):
        return _own_name(device)
    return f"board:{_name(device)}"


def emulated_elsewhere(device: Any) -> bool:
    """Whether a device is an emulated board in another process, behind PYNQ.remote."""
    return not is_emulated(device) and _own_name(device).startswith(EMULATED)


def known_name(device: Any) -> str | None:
    """The board's name in `boards.toml`, as its device or else the BOARD of the PYNQ image spells it; None if neither.

    XRT calls every embedded device the same.
    """
    names = (_own_name(device).removeprefix(EMULATED), os.environ.get("BOARD"))
    return next((name for name in names if name and name.lower() in load_boards()), None)


def _own_name(device: Any) -> str:
    return str(getattr(device, "name", None) or getattr(device, "tag", "unknown"))


def _name(device: Any) -> str:
    return known_name(device) or _own_name(device)


def _real(pynq: Any, board: str | None) -> Any:
    """The first real device, if there is one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "No devices found"
        try:
            devices = pynq.Device.devices
        except Exception as error:  # drivers, XRT and remote devices raise what they like
            raise DeviceError(f"PYNQ failed while it looked for devices: {error}") from error
    device = next((d for d in devices if not is_emulated(d)), None)
    if device is None or board is None:
        return device
    found = known_name(device)
    if found is not None and found.lower() != board.lower():
        raise DeviceError(
            f"This is a {_name(device)}, not a {board}. To emulate that board: connect({board!r}, emulated=True)"
        )
    return device


def _emulate(name: str) -> Any:
    from hls4attn.host.emulated_device import EmulatedDevice  # needs PYNQ

    if name.lower() not in _emulated:
        device = EmulatedDevice(name)
        _emulated[device.name] = device
    return _emulated[name.lower()]
