# SPDX-License-Identifier: Apache-2.0
"""The bench on an emulated board, which has no time, and on one that passes for real, which has all of it."""

import json
import time
import types

import numpy as np
import pytest
from command_line import command
from dense_model import dense, make_design, random_codes
from rich.console import Console

pynq = pytest.importorskip("pynq")
from fake_board import FakeBoard, built_package  # noqa: E402

from hls4attn.host.bench import board as board_bench  # noqa: E402
from hls4attn.host.bench import report as bench_report  # noqa: E402
from hls4attn.host.bench.board import measure, time_runs  # noqa: E402
from hls4attn.host.bench.published import PUBLISHED  # noqa: E402
from hls4attn.host.board.laps import PHASES, record_laps  # noqa: E402
from hls4attn.host.cycle_kernel import CycleKernel  # noqa: E402
from hls4attn.host.driver import load_overlay  # noqa: E402
from hls4attn.host.emulated_device import EmulatedDevice  # noqa: E402
from hls4attn.models.errors import DeviceError, InputError, MismatchError  # noqa: E402
from hls4attn.models.zoo.vectors import Vectors  # noqa: E402

pytestmark = pytest.mark.usefixtures("pynq_state")
CODES = random_codes(70, 3)
# The shell adds two cycles to a packet.
KERNEL = CycleKernel(dense, lambda samples: 998 + 100 * samples, "by a formula of this test")


def vectors(design, labels=True):
    outputs = dense(CODES)
    return Vectors(design.model_id, CODES, np.argmax(outputs, axis=1) if labels else None, outputs)


@pytest.fixture
def emulated(package):
    written = package()
    with load_overlay(written, EmulatedDevice("pynq-z2"), KERNEL) as overlay:
        yield overlay


@pytest.fixture
def real(tmp_path, pynq_state):
    design = make_design()
    device = FakeBoard("pynq-z2", {design: KERNEL})
    pynq.Device.active_device = device
    with load_overlay(built_package(design, tmp_path), device) as overlay:
        yield overlay


@pytest.fixture
def rails(monkeypatch):
    """Rails with sensors of a constant power in watts, as PYNQ gives them."""

    def give(**watts):
        sensors = {name: types.SimpleNamespace(power=types.SimpleNamespace(value=w)) for name, w in watts.items()}
        monkeypatch.setattr(pynq, "get_rails", lambda: sensors)

    return give


# --- what is measured --------------------------------------------------------------------------------------


def test_an_emulated_board_has_cycles_and_no_time(emulated):
    design = emulated.package.design
    found = measure(emulated, vectors(design), batch=16)
    assert (found.device, found.emulated, found.batch) == ("emulated:pynq-z2", True, 16)
    assert (found.quality.samples, found.quality.mismatches, found.quality.accuracy) == (70, 0, 1.0)
    assert (found.cycles.one, found.cycles.batch, found.cycles.are) == (1100, 2600, "by a formula of this test")
    assert found.one is found.many is found.energy is found.read_back_mhz is found.governor is None


def test_a_board_has_time_clock_and_energy(real, rails, monkeypatch, tmp_path):
    rails(VCCINT=2.0)
    (tmp_path / "governor").write_text("performance\n")
    monkeypatch.setattr(board_bench, "_GOVERNOR", tmp_path / "governor")
    begun = time.perf_counter()
    found = measure(real, vectors(real.package.design), batch=8, seconds=0.02)
    elapsed = time.perf_counter() - begun
    assert (found.device, found.emulated) == ("board:pynq-z2", False)
    assert found.cycles.are == "counted by the logic"
    assert (found.cycles.one, found.cycles.batch) == (1100, 1800)
    assert found.read_back_mhz == pytest.approx(100.0)
    assert found.governor == "performance"
    for wall, batch in ((found.one, 1), (found.many, 8)):
        assert wall.batch == batch
        assert wall.runs >= 5
        assert 0 < wall.best_s <= wall.median_s
        assert set(wall.phases_s) == {*PHASES, "rest"}
        assert all(wall.phases_s[phase] > 0 for phase in PHASES)
    assert found.energy.mean_w == {"VCCINT": pytest.approx(2.0)}
    joules = found.energy.rails_j["VCCINT"] * 8 * (found.many.runs + 3)  # warm-up runs count, too
    assert 2.0 * sum(found.many.phases_s.values()) * found.many.runs < joules < 2.0 * elapsed
    assert found.energy.per_inference_j == found.energy.rails_j["VCCINT"]


def test_an_emulated_board_in_another_process_is_not_measured(real):
    """Behind PYNQ.remote the device is PYNQ's own; its name says what it is."""
    real.device.name = "emulated:pynq-z2"
    found = measure(real, vectors(real.package.design), batch=8, seconds=0.01)
    assert (found.device, found.emulated) == ("emulated:pynq-z2", True)
    assert found.one is found.many is found.energy is found.read_back_mhz is None
    assert found.cycles is None or "logic" not in found.cycles.are


def test_the_phases_add_up_to_the_wall_time(real):
    wall = time_runs(real.model, CODES[:4], 0.02)
    mean = sum(wall.phases_s.values())
    assert wall.best_s <= mean
    assert 0 <= wall.phases_s["rest"] < mean


def test_a_slow_phase_shows_as_that_phase(real, monkeypatch):
    from hls4attn.host.board import stream_model

    unpack = stream_model.unpack

    def slow(*arguments):
        time.sleep(0.01)
        return unpack(*arguments)

    monkeypatch.setattr(stream_model, "unpack", slow)
    phases = time_runs(real.model, CODES[:4], 0.02).phases_s
    assert phases["unpack"] >= 0.01 > phases["pack"]


def test_nothing_is_recorded_outside(real):
    with record_laps() as laps:
        pass
    real.model.predict_codes(CODES)
    assert laps.seconds == {}


def test_which_rail_counts(real, rails):
    run = dict(batch=4, seconds=0.01)
    rails()
    found = measure(real, None, **run).energy
    assert (found.rail, found.rails_j, found.per_inference_j) == (None, {}, None)
    assert "no power sensor" in found.reason
    rails(PL=1.0, PS=2.0)
    found = measure(real, None, **run).energy
    assert found.rail is None
    assert "choose with --rail: PL, PS" in found.reason
    found = measure(real, None, rail="PS", **run).energy
    assert (found.rail, found.reason, list(found.rails_j)) == ("PS", "", ["PL", "PS"])
    assert found.per_inference_j == pytest.approx(2 * found.rails_j["PL"], rel=0.5)
    with pytest.raises(InputError, match="No rail 'VCC' here; there are: PL, PS"):
        measure(real, None, rail="VCC", **run)


def test_an_unreadable_clock_and_governor(real, rails, monkeypatch, tmp_path):
    rails()
    monkeypatch.setattr(board_bench, "_GOVERNOR", tmp_path / "absent")
    assert measure(real, None, batch=1, seconds=0.01).governor is None
    monkeypatch.setattr(pynq, "Clocks", types.SimpleNamespace())
    with pytest.raises(DeviceError, match="does not read the PL clock: AttributeError"):
        measure(real, None, batch=1, seconds=0.01)


def test_a_wrong_answer_is_counted(emulated):
    test_set = vectors(emulated.package.design)
    test_set.outputs[5, 0] += 1
    assert measure(emulated, test_set, batch=7).quality.mismatches == 1


def test_without_a_cycle_model_or_classes(package):
    with load_overlay(package(), EmulatedDevice("pynq-z2"), dense) as overlay:
        found = measure(overlay, vectors(overlay.package.design, labels=False), batch=2)
    assert found.cycles is None
    assert found.quality.accuracy is None
    written = bench_report.to_json(found)
    assert written["cycles_reason"].startswith("nothing counts cycles")
    assert written["at_assumed_clock"] is None
    assert written["mlperf_tiny"]["quality"]["reason"]
    assert "cycles" in printed(found)


@pytest.mark.parametrize(("batch", "seconds"), [(0, 1.0), (1, 0.0), (1, float("nan"))])
def test_impossible_settings_are_refused(emulated, batch, seconds):
    with pytest.raises(InputError, match="must be positive"):
        measure(emulated, None, batch=batch, seconds=seconds)


def test_gain_cells_are_not_for_this_bench(emulated):
    emulated.model, model = object(), emulated.model
    with pytest.raises(InputError, match="run char-gpt"):
        measure(emulated)
    emulated.model = model


# --- what is said about it ---------------------------------------------------------------------------------


def printed(found):
    out = Console(width=400, record=True, file=None, quiet=False)
    with out.capture() as text:
        bench_report.print_bench(out, found)
    return text.get()


def test_an_emulated_time_is_only_an_assumption(emulated):
    found = measure(emulated, vectors(emulated.package.design), batch=16)
    text, written = printed(found), bench_report.to_json(found)
    assert "at an assumed clock of 100 MHz: 11.00 us for one sample, 615,385 samples a second" in text
    assert "time, energy  none: no hardware ran" in text
    own = text.split("published")[0]
    assert " us" not in own.replace("11.00 us for one sample", "")
    assert "wall" not in own
    assert "uJ" not in own
    assert written["measured"] is False
    assert written["at_clock_read_back"] is None
    for name in ("latency_s", "throughput_per_s", "energy_per_inference_j"):
        assert written["mlperf_tiny"][name]["value"] is None
        assert "no hardware ran" in written["mlperf_tiny"][name]["reason"]
    assert written["mlperf_tiny"]["quality"] == {"metric": "top-1 accuracy", "value": 1.0, "reason": None}


def test_a_real_time_says_what_is_in_it(real, rails):
    rails(PL=1.5)
    found = measure(real, vectors(real.package.design), batch=8, seconds=0.01)
    text, written = printed(found), bench_report.to_json(found)
    for words in (
        "at the clock read back of 100 MHz: 11.00 us",
        "wall, batch 1",
        "wall, batch 8",
        "governor",
        "copy in",
    ):
        assert words in text
    assert "rail PL counts" in text
    assert "uJ (1.50 W)" in text
    assert "assumed" not in text
    tiny = written["mlperf_tiny"]
    assert written["measured"] is True
    assert written["at_assumed_clock"] is None
    assert written["at_clock_read_back"]["one_sample_us"] == pytest.approx(11.0)
    assert tiny["latency_s"] == {"value": found.one.median_s, "reason": None}
    assert tiny["throughput_per_s"]["value"] == pytest.approx(8 / found.many.median_s)
    assert tiny["energy_per_inference_j"]["value"] == found.energy.per_inference_j
    json.dumps(written)


def test_published_rows_are_beside_it(emulated):
    found = measure(emulated)
    rows = bench_report.to_json(found)["published"]["rows"]
    assert len(rows) == len(PUBLISHED) == 15
    assert rows[0]["latency_s"] == pytest.approx(18.74e-6, rel=1e-3)
    assert rows[3]["latency_s"] == pytest.approx(27.33e-3, rel=1e-3)
    text = printed(found)
    assert "quality       none" in text
    assert "bare metal" in text
    assert all(row["model"] in text for row in rows)


# --- the verb ----------------------------------------------------------------------------------------------


def test_the_verb_on_a_board(capsys, monkeypatch, tmp_path, pynq_state, rails):
    """Everything but the sensor is real code: find the files, load, measure, report; one answer is wrong."""
    rails()
    design = make_design(name="digits")
    built_package(design, tmp_path / "files" / "pynq-z2")
    pynq.Device._devices = [FakeBoard("pynq-z2", {design: KERNEL})]
    monkeypatch.delenv("HLS4ATTN_EMULATED_BOARD", raising=False)
    test_set = vectors(design)
    monkeypatch.setattr(bench_report, "vectors_of", lambda model_id: test_set if model_id == design.model_id else None)
    arguments = ["bench", "--board", "pynq-z2", "--overlays", tmp_path / "files", "--seconds", 0.01, "--json"]
    code, out, err = command(capsys, monkeypatch, *arguments, tmp_path / "b.json")
    assert code == 0, err
    assert "digits (model" in out
    assert "on board:pynq-z2" in out
    assert json.loads((tmp_path / "b.json").read_text())["measured"] is True
    test_set.outputs[0, 0] += 1
    code, _, err = command(capsys, monkeypatch, *arguments, tmp_path / "c.json")
    assert code == MismatchError.exit_code
    assert "1 of 70 samples differ" in err
    assert json.loads((tmp_path / "c.json").read_text())["quality"]["mismatches"] == 1
