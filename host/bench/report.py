# SPDX-License-Identifier: Apache-2.0
"""What `hls4attn bench --board` prints and writes: figures with their conditions, published rows beside them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from hls4attn.host.bench.board import SECONDS, check_counts, measure
from hls4attn.host.bench.published import NOTE, PUBLISHED
from hls4attn.host.bench.results import MIN_RUNS, WARM_UP, BoardBench, Energy, Wall
from hls4attn.host.library import load, model_file, vectors_of
from hls4attn.host.paths import check_output
from hls4attn.models.errors import MismatchError
from hls4attn.models.files import write_json
from hls4attn.models.zoo.registry import GPT, zoo_model
from hls4attn.models.zoo.vectors import Vectors

#: Word for --board that insists on the emulated board; `emulated:NAME` names it too.
EMULATED = "emulated"
SAMPLES = 256  # through the reference, of a model without test set
NOT_HARDWARE = "no hardware ran: an emulated board has no time and no energy"
_UNCOUNTED = "nothing counts cycles: the counter stands still, or the emulated kernel has no cycle model"
_NO_TEST_SET = "this model brings no test set with classes"
_INSIDE = (
    "inside the timer: predict_codes, integer codes in and out (pack, check of registers, copy in, flush, DMA with "
    "its polling, invalidate, copy out, unpack); outside: quantising real inputs, loading the overlay"
)


def bench_board(
    out: Console,
    name: str = "digits",
    board: str | None = None,
    *,
    batch: int = 64,
    seconds: float = SECONDS,
    rail: str | None = None,
    folder: Path | None = None,
    json: Path | None = None,
    **options: Any,
) -> None:
    """Measure an overlay, print the tables, write the JSON.

    Args:
        out: where to print.
        name: of the overlay, or the ONNX file that it was built from.
        board: its name, "emulated", "emulated:NAME", or None for the one that is there.
        batch: samples of a batch.
        seconds: how long to repeat each measurement on a real board.
        rail: power rail whose energy counts.
        folder: where built overlays are looked for first.
        json: file for the figures.
        options: of `load`: of `HlsConfig`, for an emulated board, and what it computes with.

    Raises:
        MismatchError: after everything was written, if the board differs from the reference.
        Hls4attnError: as of `load` and `measure`.
    """
    check_output(json, inputs=[model_file(name)])
    kind, _, named = (board or "").partition(":")
    emulated = kind.lower() == EMULATED or None
    check_counts(batch, seconds)
    where = named or None if emulated else board
    with load(name, where, emulated=emulated, folder=folder, quiet=True, **options) as overlay:
        vectors = _vectors(name, overlay.package.design.model_id)
        found = measure(overlay, vectors, batch=batch, seconds=seconds, rail=rail)
    print_bench(out, found)
    if json:
        write_json(json, to_json(found))
    if found.quality is not None and found.quality.mismatches:
        raise MismatchError(
            f"{found.device}: {found.quality.mismatches} of {found.quality.samples} samples differ from the reference"
        )


def _vectors(name: str, model_id: str) -> Vectors | None:
    """What ships with the package, else samples through the reference where the model's file is here."""
    found = vectors_of(model_id)
    if found is not None or not model_file(name).is_file():
        return found
    from hls4attn.host.samples import verification_codes
    from hls4attn.models.export.execute import quantise_input
    from hls4attn.models.export.keras_stage import KEY_MODEL
    from hls4attn.models.export.reader import read_graph
    from hls4attn.models.zoo.vectors import reference_vectors

    graph = read_graph(model_file(name))
    zoo = graph.metadata.get(KEY_MODEL)
    if not zoo or zoo == GPT:
        return reference_vectors(graph, model_id, verification_codes(graph, SAMPLES, 0)[0])
    data = zoo_model(zoo).load_data()
    return reference_vectors(graph, model_id, quantise_input(graph, data.x_test), data.y_test)


def print_bench(out: Console, found: BoardBench) -> None:
    """Figures line by line, each with its conditions; then the published rows."""
    table = Table("", "", box=None, pad_edge=False, show_header=False)
    for what, text in _lines(found):
        table.add_row(what, text)
    title = f"{found.model} (model {found.model_id[:12]}) on {found.device}, batch {found.batch}"
    out.print(title, soft_wrap=True, markup=False, highlight=False)
    out.print(table, highlight=False, markup=False)
    out.print(_published_table())
    out.print(f"published: {NOTE}", soft_wrap=True, markup=False, highlight=False, style="dim")


def _lines(found: BoardBench) -> Iterator[tuple[str, str]]:
    quality = found.quality
    if quality is None:
        yield "quality", f"none: {_NO_TEST_SET}"
    else:
        share = "" if quality.accuracy is None else f"accuracy {quality.accuracy:.2%}, "
        against = f"{quality.mismatches}/{quality.samples} mismatches"
        yield "quality", f"{share}{against} against the integer reference"
    if found.cycles is None:
        yield "cycles", f"none: {_UNCOUNTED}"
    else:
        each = found.cycles.batch / found.batch
        yield "one sample", f"{found.cycles.one:,} cycles"
        yield f"batch of {found.batch}", f"{found.cycles.batch:,} cycles, {each:,.1f} a sample"
        yield "cycles are", found.cycles.are
        yield "", _clocked(found)
    if found.made_as is not None:
        yield "Verilog", found.made_as
    if found.simulated_per_s is not None:
        yield "simulator", f"{found.simulated_per_s:,.0f} samples a second on this computer; no speed of hardware"
    if found.one is None or found.many is None or found.energy is None:
        yield "time, energy", f"none: {NOT_HARDWARE}"
        return
    for wall in (found.one, found.many):
        yield from _wall_lines(wall)
    yield "conditions", f"{_conditions(found)}"
    yield "energy", _energy_text(found.energy)


def _clocked(found: BoardBench) -> str:
    """Cycles as a time: at the clock read back, or at one that is only assumed."""
    mhz, at = found.read_back_mhz, "at the clock read back"
    if mhz is None:
        mhz, at = found.design_mhz, "at an assumed clock"
    times = _as_time(found, mhz) or {}
    return (
        f"{at} of {mhz:g} MHz: {times['one_sample_us']:,.2f} us for one sample, "
        f"{times['samples_per_s']:,.0f} samples a second in a batch"
    )


def _wall_lines(wall: Wall) -> Iterator[tuple[str, str]]:
    rate = wall.batch / wall.median_s
    yield (
        f"wall, batch {wall.batch}",
        f"median {1e6 * wall.median_s:,.1f} us, best {1e6 * wall.best_s:,.1f} us, {rate:,.0f} samples a second "
        f"({wall.runs} runs)",
    )
    yield "", ", ".join(f"{name} {1e6 * s:,.1f}" for name, s in wall.phases_s.items()) + " us (means)"


def _conditions(found: BoardBench) -> str:
    return f"{_INSIDE}; {WARM_UP} runs to warm up; processor's governor: {found.governor or 'unknown'}"


def _energy_text(energy: Energy) -> str:
    rails = ", ".join(
        f"{name} {1e6 * joule:,.2f} uJ ({energy.mean_w[name]:.2f} W)" for name, joule in energy.rails_j.items()
    )
    chosen = f"none for an inference: {energy.reason}" if energy.rail is None else f"rail {energy.rail} counts"
    read = f"; a sample: {rails}, with all that each rail feeds" if rails else ""
    return f"{chosen}{read}"


def _published_table() -> Table:
    table = Table(box=None, pad_edge=False, title="published MLPerf Tiny results, for context")
    for name in ("model", "by", "board", "task", "quality"):
        table.add_column(name)
    for name in ("inferences/s", "latency us", "uJ/inference"):
        table.add_column(name, justify="right")
    for p in PUBLISHED:
        energy = "-" if p.energy_uj is None else f"{p.energy_uj:,.1f}"
        figures = (f"{p.per_second:,.1f}", f"{1e6 * p.latency_s:,.1f}", energy)
        table.add_row(p.model, p.by, p.board, p.task, p.quality or "-", *figures)
    return table


def to_json(found: BoardBench) -> dict[str, Any]:
    """Plain values; what was not measured is null and has its reason beside it."""
    each = None if found.cycles is None else found.cycles.batch / found.batch
    wall = None if found.many is None else found.many.batch / found.many.median_s
    energy = found.energy.reason if found.energy is not None else NOT_HARDWARE
    joule = found.energy.per_inference_j if found.energy is not None else None
    quality = None if found.quality is None else found.quality.accuracy
    latency = None if found.one is None else found.one.median_s
    return asdict(found) | {
        "measured": not found.emulated,
        "cycles_per_sample": each,
        "cycles_reason": None if found.cycles is not None else _UNCOUNTED,
        "at_assumed_clock": _as_time(found, found.design_mhz) if found.emulated else None,
        "at_clock_read_back": _as_time(found, found.read_back_mhz),
        "conditions": {
            "inside_the_timer": _INSIDE,
            "warm_up_runs": WARM_UP,
            "least_runs": MIN_RUNS,
            "energy": "of the whole rail while batches run, warm-up included",
        },
        "mlperf_tiny": {
            "latency_s": _figure(latency, NOT_HARDWARE),
            "throughput_per_s": _figure(wall, NOT_HARDWARE),
            "energy_per_inference_j": _figure(joule, energy),
            "quality": {"metric": "top-1 accuracy", **_figure(quality, _NO_TEST_SET)},
        },
        "published": {"note": NOTE, "rows": [asdict(p) | {"latency_s": p.latency_s} for p in PUBLISHED]},
    }


def _as_time(found: BoardBench, mhz: float | None) -> dict[str, float] | None:
    """Cycles at a clock."""
    if mhz is None or found.cycles is None:
        return None
    each = found.cycles.batch / found.batch
    return {"mhz": mhz, "one_sample_us": found.cycles.one / mhz, "samples_per_s": 1e6 * mhz / each}


def _figure(value: float | None, reason: str) -> dict[str, Any]:
    return {"value": value, "reason": reason if value is None else None}
