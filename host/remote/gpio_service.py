# SPDX-License-Identifier: Apache-2.0
"""The pins that the processing system has itself.  Our overlays connect none, so inputs read 0."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from hls4attn.host.remote.protocol import gpio_messages, grpc, shown
from hls4attn.overlays.boards import Board

BASE = 512  # first number that Linux gives, from 6.2 on
PINS = {"zynq": 54 + 64, "zynquplus": 78 + 96}  # MIO and EMIO: UG585 and UG1085, GPIO
DIRECTIONS = ("in", "out")


@dataclass
class _Pin:
    index: int
    direction: str
    value: int = 0


class GpioService:
    """The service `Gpio`, which clients have since PYNQ 4.0.

    Args:
        board: how many pins there are depends on its family.
    """

    def __init__(self, board: Board) -> None:
        self._count = PINS[board.family]
        self._pins: dict[str, _Pin] = {}
        self._numbers = itertools.count()

    def get_gpio(self, request: Any, context: Any) -> Any:
        """Take a pin."""
        if not BASE <= request.index < BASE + self._count or request.direction not in DIRECTIONS:
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"Pins are {BASE} to {BASE + self._count - 1}, directions in or out. "
                f"Received: {request.index}, {shown(request.direction)}",
            )
        name = f"gpio{next(self._numbers)}"
        self._pins[name] = _Pin(request.index, request.direction)
        return gpio_messages.GetGpioResponse(gpio_id=name)

    def read(self, request: Any, context: Any) -> Any:
        """Level of a pin."""
        return gpio_messages.GpioReadResponse(value=self._pin(request, context).value)

    def write(self, request: Any, context: Any) -> Any:
        """Set an output."""
        pin = self._pin(request, context)
        if pin.direction != "out" or request.value not in (0, 1):
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"Pin {pin.index} is an {pin.direction}put; outputs take 0 or 1. Received: {request.value}",
            )
        pin.value = request.value
        return gpio_messages.GpioWriteResponse()

    def unexport(self, request: Any, context: Any) -> Any:
        """Give a pin back; a second time does nothing."""
        self._pins.pop(request.gpio_id, None)
        return gpio_messages.GpioUnexportResponse()

    def is_exported(self, request: Any, context: Any) -> Any:
        """Whether a pin is taken."""
        return gpio_messages.GpioIsExportedResponse(is_exported=request.gpio_id in self._pins)

    def get_gpio_base_path(self, request: Any, context: Any) -> Any:
        """Where Linux would show the pins; nothing for a label, since there is no other controller."""
        path = "" if request.target_label else f"/sys/class/gpio/gpiochip{BASE}"
        return gpio_messages.GetGpioBasePathResponse(base_path=path)

    def get_gpio_npins(self, request: Any, context: Any) -> Any:
        """How many pins there are."""
        return gpio_messages.GetGpioNPinsResponse(npins=0 if request.target_label else self._count)

    def _pin(self, request: Any, context: Any) -> _Pin:
        if request.gpio_id not in self._pins:
            context.abort(grpc.StatusCode.NOT_FOUND, f"No such pin: {shown(request.gpio_id)}; it was given back")
        return self._pins[request.gpio_id]
