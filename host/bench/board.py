# SPDX-License-Identifier: Apache-2.0
"""Measuring an overlay on a board: quality, cycles, and on real hardware wall time, clock and energy.

An emulated board gives quality and cycles.  It has no time and no energy, and none is made up for it.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from hls4attn.host.bench.results import MIN_RUNS, WARM_UP, BoardBench, Cycles, Energy, Quality, Wall
from hls4attn.host.board.laps import PHASES, record_laps
from hls4attn.host.connect import emulated_elsewhere, is_emulated
from hls4attn.models.errors import DeviceError, InputError
from hls4attn.models.formats import Codes
from hls4attn.models.zoo.vectors import Vectors
from hls4attn.overlays.ports import StreamPort

SECONDS = 1.0
MAX_SECONDS = 3600
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
NO_RAILS = "this board has no power sensor that PYNQ can read; measure at its supply"


def measure(
    overlay: Any,
    vectors: Vectors | None = None,
    *,
    batch: int = 64,
    seconds: float = SECONDS,
    rail: str | None = None,
) -> BoardBench:
    """Measure a loaded overlay.

    Args:
        overlay: a `ModelOverlay` with a stream model.
        vectors: its test set; without it random codes are sent, and nothing is said about quality.
        batch: samples of a batch.
        seconds: how long to repeat single samples, and how long batches, on a real board.
        rail: power rail whose energy counts; needed where there are several.

    Raises:
        InputError: for a batch or time that is not positive, an unknown rail, or an overlay of gain cells.
        DeviceError: if the board fails.
    """
    from hls4attn.host.board.stream_model import StreamModel  # needs PYNQ

    model = overlay.model
    if not isinstance(model, StreamModel):
        raise InputError(
            f"The bench takes the overlay of one model. Received: {type(model).__name__}; of gain cells, hls4attn run "
            "char-gpt counts the cycles"
        )
    check_counts(batch, seconds)
    design = overlay.package.design
    codes = _batch(design.input, vectors, batch)
    quality = _quality(model, vectors, batch) if vectors is not None else None
    cycles = _cycles(model, codes)
    emulated = is_emulated(overlay.device) or emulated_elsewhere(overlay.device)
    one = many = energy = clock = simulated = None
    if model.made_as is not None:
        simulated = batch / time_once(model, codes)
    if not emulated:
        clock = _read_clock()
        one = time_runs(model, codes[:1], seconds)
        many, energy = _with_energy(model, codes, seconds, rail)
    return BoardBench(
        model=design.name,
        model_id=design.model_id,
        device=model.device_tag,
        board=design.board.name,
        emulated=emulated,
        batch=batch,
        design_mhz=design.clock.mhz,
        read_back_mhz=clock,
        governor=None if emulated else _governor(),
        quality=quality,
        cycles=cycles,
        one=one,
        many=many,
        energy=energy,
        made_as=model.made_as,
        simulated_per_s=simulated,
    )


def check_counts(batch: int, seconds: float) -> None:
    """Refuse what cannot be measured, or would not end.

    Raises:
        InputError: for a batch that is not positive, or a time that is none.
    """
    if batch < 1:
        raise InputError(f"The batch must be positive. Received: {batch}")
    if not 0 < seconds <= MAX_SECONDS:
        raise InputError(f"seconds must be positive, and at most {MAX_SECONDS}. Received: {seconds}")


def _batch(port: StreamPort, vectors: Vectors | None, batch: int) -> Codes:
    """The test set, as often as it takes, or random codes."""
    if vectors is not None:
        return np.resize(vectors.inputs, (batch, *port.shape))
    rng = np.random.default_rng(0)
    return rng.integers(port.format.min, port.format.max, (batch, *port.shape), dtype=np.int64, endpoint=True)


def _quality(model: Any, vectors: Vectors, batch: int) -> Quality:
    parts = [model.predict_codes(vectors.inputs[k : k + batch]) for k in range(0, len(vectors), batch)]
    outputs = np.concatenate(parts)
    return Quality(len(vectors), vectors.mismatches(outputs), vectors.accuracy(outputs))


def _cycles(model: Any, codes: Codes) -> Cycles | None:
    """Differences of the counter around one sample and around one batch; None if it stands still."""
    if model.cycles_are is None:
        return None
    counts = [model.cycles]
    for part in (codes[:1], codes):
        model.predict_codes(part)
        counts.append(model.cycles)
    one, many = counts[1] - counts[0], counts[2] - counts[1]
    return Cycles(one, many, model.cycles_are) if min(one, many) > 0 else None


def time_once(model: Any, codes: Codes) -> float:
    """Seconds of one prediction on this computer."""
    start = time.perf_counter()
    model.predict_codes(codes)
    return time.perf_counter() - start


def time_runs(model: Any, codes: Codes, seconds: float) -> Wall:
    """Repeat a prediction for some seconds, and at least `MIN_RUNS` times."""
    for _ in range(WARM_UP):
        model.predict_codes(codes)
    times: list[float] = []
    end = time.perf_counter() + seconds
    with record_laps() as laps:
        while len(times) < MIN_RUNS or time.perf_counter() < end:
            start = time.perf_counter()
            laps.start()
            model.predict_codes(codes)
            times.append(time.perf_counter() - start)
    phases = {name: laps.seconds.get(name, 0.0) / len(times) for name in PHASES}
    phases["rest"] = sum(times) / len(times) - sum(phases.values())
    return Wall(len(codes), len(times), float(np.median(times)), min(times), phases)


def _with_energy(model: Any, codes: Codes, seconds: float, rail: str | None) -> tuple[Wall, Energy]:
    """Time batches while the rails are sampled; warm-up runs are sampled too, and counted."""
    from hls4attn.host.board.power import record_rails

    with record_rails() as recording:
        wall = time_runs(model, codes, seconds)
    if rail is not None and rail not in recording:
        raise InputError(f"No rail {rail!r} here; there are: {', '.join(recording) or 'none'}")
    samples = (wall.runs + WARM_UP) * wall.batch
    joules = {name: read.energy_j / samples for name, read in recording.items()}
    watts = {name: read.mean_w for name, read in recording.items()}
    chosen, reason = rail, ""
    if rail is None and len(recording) == 1:
        (chosen,) = recording
    elif rail is None:
        several = f"several rails, which may feed each other; choose with --rail: {', '.join(recording)}"
        reason = several if recording else NO_RAILS
    return wall, Energy(joules, watts, chosen, reason)


def _read_clock() -> float:
    """PL clock 0 in MHz, from the board's registers."""
    import pynq

    try:
        return float(pynq.Clocks.fclk0_mhz)
    except Exception as error:  # PYNQ raises what it likes where it does not know the processor
        raise DeviceError(f"PYNQ does not read the PL clock: {type(error).__name__}: {error}") from error


def _governor() -> str | None:
    try:
        return _GOVERNOR.read_text().strip()
    except OSError:
        return None
