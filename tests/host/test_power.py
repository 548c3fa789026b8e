# SPDX-License-Identifier: Apache-2.0
"""Power of rails: right sums of what sensors say, nothing where there are none."""

import threading
import time
from dataclasses import dataclass

import pytest

from hls4attn.host.board import power
from hls4attn.host.board.power import record_rails
from hls4attn.models.errors import DeviceError, InputError


class Sensor:
    """Gives a value, or the next of some."""

    def __init__(self, *values: float) -> None:
        self.values = list(values)

    @property
    def value(self) -> float:
        return self.values.pop(0) if len(self.values) > 1 else self.values[0]


@dataclass
class Rail:
    """As `pynq.pmbus.Rail`."""

    power: Sensor | None = None
    voltage: Sensor | None = None
    current: Sensor | None = None


def test_energy_of_constant_power() -> None:
    rails = {
        "int": Rail(power=Sensor(2.0)),
        "12V": Rail(voltage=Sensor(12.0), current=Sensor(0.5)),
        "x": Rail(Sensor(0.0)),
    }
    with record_rails(0.002, rails) as found:
        time.sleep(0.05)
        assert found == {}
    assert set(found) == {"int", "12V", "x"}
    for name, watts in (("int", 2.0), ("12V", 6.0), ("x", 0.0)):
        rail = found[name]
        assert (rail.mean_w, rail.peak_w) == (pytest.approx(watts), watts)
        assert rail.energy_j == pytest.approx(watts * rail.seconds)
        assert 0.045 < rail.seconds < 1
        assert rail.interval_s == pytest.approx(rail.seconds / (rail.samples - 1))


def test_the_trapezoidal_rule() -> None:
    found = power._summary([(0.0, 1.0), (1.0, 3.0), (4.0, 3.0)])
    assert found == power.RailPower(2.0 + 9.0, 11 / 4, 3.0, 4.0, 3, 2.0)


def test_a_block_shorter_than_the_interval_has_two_samples() -> None:
    with record_rails(60, {"a": Rail(power=Sensor(1.0, 3.0))}) as found:
        pass
    assert (found["a"].samples, found["a"].peak_w) == (2, 3.0)
    assert found["a"].mean_w == pytest.approx(2.0)


def test_rails_that_measure_no_power_are_left_out() -> None:
    with record_rails(rails={"a": Rail(voltage=Sensor(1.0)), "b": Rail()}) as found:
        pass
    assert found == {}


def test_a_computer_without_sensors_has_no_rails(monkeypatch: pytest.MonkeyPatch) -> None:
    pynq = pytest.importorskip("pynq")
    monkeypatch.setattr(pynq, "get_rails", dict)
    threads = threading.active_count()
    with record_rails() as found:
        assert threading.active_count() == threads  # nothing to sample, nothing that samples
    assert found == {}


def test_pynq_is_asked_for_rails(monkeypatch: pytest.MonkeyPatch) -> None:
    pynq = pytest.importorskip("pynq")
    monkeypatch.setattr(pynq, "get_rails", lambda: {"a": Rail(power=Sensor(1.5))})
    with record_rails() as found:
        pass
    assert found["a"].mean_w == pytest.approx(1.5)


def test_a_sensor_that_fails_is_told_and_the_thread_ends() -> None:
    threads = threading.active_count()
    for values in ((), (1.0, "broken")):
        failed = pytest.raises(DeviceError, match="A power sensor failed: (IndexError|ValueError)")
        with failed, record_rails(0.001, {"a": Rail(power=Sensor(*values))}):
            time.sleep(0.02)
    assert threading.active_count() == threads


def test_an_error_of_the_block_is_the_one_that_is_told() -> None:
    with pytest.raises(KeyError, match="mine"), record_rails(0.001, {"a": Rail(power=Sensor())}):
        raise KeyError("mine")


@pytest.mark.parametrize("interval", [0, -1, float("nan")])
def test_impossible_intervals(interval: float) -> None:
    with pytest.raises(InputError, match="interval_s must be positive"), record_rails(interval, {}):
        pass
