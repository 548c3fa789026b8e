# SPDX-License-Identifier: Apache-2.0
"""Power of the board's supply rails while something runs, on boards that measure it.

::

    with record_rails() as rails:
        model.predict(batch)
    for name, rail in rails.items():
        print(name, rail.energy_j, rail.mean_w)

A thread of its own samples the sensors that `pynq.get_rails` finds, so the numbers hold what that thread costs, too.
Boards without sensors (PYNQ-Z1 and Z2) and emulated ones have no rails: the result is empty, never an estimate.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from hls4attn.host.pynq_compat import import_pynq
from hls4attn.models.errors import DeviceError, InputError

INTERVAL_S = 0.01


@dataclass(frozen=True)
class RailPower:
    """What a rail delivered during a recording.

    Args:
        energy_j: joules from the first to the last sample, by the trapezoidal rule.
        mean_w: watts over that time.
        peak_w: largest sample in watts.
        seconds: from the first to the last sample.
        samples: how many.
        interval_s: mean time between two of them; sensors may refresh more slowly.
    """

    energy_j: float
    mean_w: float
    peak_w: float
    seconds: float
    samples: int
    interval_s: float


class Recording(dict[str, RailPower]):
    """Rails by name, filled when the `with` block ends; empty where nothing is measured."""


@contextmanager
def record_rails(interval_s: float = INTERVAL_S, rails: Mapping[str, Any] | None = None) -> Iterator[Recording]:
    """Sample the power of all rails while the block runs.

    Args:
        interval_s: wanted time between two samples, in seconds.
        rails: as `pynq.get_rails` gives them; asked for if None.

    Raises:
        InputError: for an interval that is not positive.
        ToolError: if PYNQ is missing and `rails` is None.
        DeviceError: at the end of the block, if a sensor failed.
    """
    if not interval_s > 0:
        raise InputError(f"interval_s must be positive. Received: {interval_s}")
    sensors = _power_sensors(_rails() if rails is None else rails)
    recording = Recording()
    if not sensors:
        yield recording
        return
    sampler = _Sampler(sensors, interval_s)
    sampler.start()
    try:
        yield recording
    finally:
        sampler.stop()
    recording.update(sampler.result())


def _rails() -> Mapping[str, Any]:
    pynq = import_pynq()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "Could not initialise libsensors library", where there are none
        found: Mapping[str, Any] = pynq.get_rails()
    return found


def _power_sensors(rails: Mapping[str, Any]) -> dict[str, Callable[[], float]]:
    """How to read the watts of each rail that has a power sensor, or voltage and current."""
    found: dict[str, Callable[[], float]] = {}
    for name, rail in rails.items():
        power, volts, amperes = (getattr(rail, kind, None) for kind in ("power", "voltage", "current"))
        if power is not None:
            found[name] = lambda sensor=power: float(sensor.value)  # type: ignore[misc]
        elif volts is not None and amperes is not None:
            found[name] = lambda u=volts, i=amperes: float(u.value) * float(i.value)  # type: ignore[misc]
    return found


class _Sampler(threading.Thread):
    """Reads all sensors again and again, at once when it starts and once more when it stops."""

    def __init__(self, sensors: Mapping[str, Callable[[], float]], interval_s: float) -> None:
        super().__init__(name="hls4attn-rails", daemon=True)
        self._sensors, self._interval_s = sensors, interval_s
        self._done, self._ready = threading.Event(), threading.Event()
        self._error: BaseException | None = None
        self._samples: dict[str, list[tuple[float, float]]] = {name: [] for name in sensors}

    def start(self) -> None:
        """Begin, and return after the first sample."""
        super().start()
        self._ready.wait()

    def run(self) -> None:
        """Body of the thread."""
        try:
            self._sample()
            self._ready.set()
            while not self._done.wait(self._interval_s):
                self._sample()
            self._sample()
        except Exception as error:  # sensors of any kind: told by `result`
            self._error = error
        finally:
            self._ready.set()

    def stop(self) -> None:
        """Take the last sample and end."""
        self._done.set()
        self.join()

    def result(self) -> dict[str, RailPower]:
        """Energy and power of each rail."""
        if self._error is not None:
            raise DeviceError(f"A power sensor failed: {type(self._error).__name__}: {self._error}") from self._error
        return {name: _summary(samples) for name, samples in self._samples.items()}

    def _sample(self) -> None:
        for name, read in self._sensors.items():
            begun = time.monotonic()
            watts = read()
            self._samples[name].append(((begun + time.monotonic()) / 2, watts))


def _summary(samples: list[tuple[float, float]]) -> RailPower:
    steps = list(pairwise(samples))
    energy = sum((after[0] - before[0]) * (before[1] + after[1]) / 2 for before, after in steps)
    seconds = samples[-1][0] - samples[0][0]
    mean = energy / seconds if seconds else samples[0][1]
    return RailPower(energy, mean, max(w for _, w in samples), seconds, len(samples), seconds / len(steps))
