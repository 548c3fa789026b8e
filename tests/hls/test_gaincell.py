# SPDX-License-Identifier: Apache-2.0
"""Gain-cell heads: the kernels and the co-processor give the operator's integers, token by token and as sequences."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gain_models import SPECS, cells_model, random_codes, reference

from hls4attn.hls import CSim, HlsConfig, convert, gaincell_sim, include_dir, lower_graph, operator_csim
from hls4attn.hls.bench import cells_graph, design_simulation
from hls4attn.hls.gaincell import current_rows, gaincell_parameters, structure
from hls4attn.hls.gaincell_sim import GainCellSim
from hls4attn.hls.stream import cycles
from hls4attn.hls.stream.dataflow import DataflowSim
from hls4attn.hls.stream.network import to_stream
from hls4attn.host.operator_models import OPERATORS
from hls4attn.models.errors import FormatError, InputError, SpecError, UnsupportedError
from hls4attn.models.export.execute import Reference
from hls4attn.models.export.lengths import shortened
from hls4attn.models.export.reader import read_graph
from hls4attn.models.operators import GainCellSpec
from hls4attn.models.operators.gain_curve import LINEAR_CELL
from hls4attn.models.operators.gain_scaling import NonIdeality

pytestmark = pytest.mark.compile

GOLDEN = Path(__file__).parents[1] / "golden" / "gaincell"
TINY = SPECS["wraps"][0]
#: Specs of which each needs a compiler run of its own; the first few show the most.
FAST = ("wraps", "paper", "levels of keys and values differ", "more elements than slots of a tile", "split tiles")
EVERY = [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in SPECS]


# ---- token by token --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_tokens_equal_the_reference(name: str) -> None:
    spec, tokens = SPECS[name]
    q, k, v = random_codes(spec, tokens, 7)
    expected = reference(spec, q, k, v)
    sim = GainCellSim(spec)
    done, rng = 0, np.random.default_rng(1)
    while done < tokens:  # single tokens and batches of them
        n = int(min(rng.choice([1, 1, 2, 7, spec.tile, spec.window + 1]), tokens - done))
        one = n == 1 and rng.random() < 0.5
        part = done if one else slice(done, done + n)
        assert np.array_equal(sim.step(q[part], k[part], v[part]), expected[part])
        done += n
        assert sim.count == min(done, spec.window)
    assert len(np.unique(expected)) > 8


def test_what_the_random_tokens_cover() -> None:
    """10,000 tokens and more, windows that wrap and windows that never fill, saturation of pulses and of tiles."""
    assert sum(tokens for name, (_, tokens) in SPECS.items() if name in FAST) >= 10_000
    assert sum(tokens > 3 * spec.window for spec, tokens in SPECS.values()) > 8
    assert any(tokens < spec.window for spec, tokens in SPECS.values())
    clipped = 0
    for spec, tokens in SPECS.values():
        q, k, v = random_codes(spec, min(tokens, 200), 7)
        clipped += spec.saturations(*(a.swapaxes(-3, -2) for a in (q, k, v))) > 0
        scores = _scores(spec, q, k)
        pulses = spec.rescales[0](scores)
        assert pulses.min() < 0
        if spec.score_saturation < 80:
            assert pulses.max() > spec.pulse_steps
    assert clipped > 8


def _scores(spec: GainCellSpec, q: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Scores of the tokens with themselves, age 0."""
    levels = np.minimum(k, spec.k_levels - 1)
    return np.asarray((np.minimum(q, spec.q_levels - 1) * spec.tables[0][0][levels]).sum(axis=-1))


@pytest.mark.parametrize("number", range(5))
def test_golden_vectors(number: int) -> None:
    """Five specs; those with the same numbers of levels share a compiled co-processor, and differ in its table."""
    spec = OPERATORS["gaincell"][number].spec()
    with np.load(GOLDEN / f"case{number}.npz") as stored:
        vectors = {name: stored[name] for name in stored.files}
    sim = GainCellSim(spec, current_width=14)
    for sample, expected in enumerate(vectors["expected"]):
        q, k, v = (vectors[f"operand{n}"][sample].swapaxes(0, 1) for n in range(3))
        sim.clear()
        assert np.array_equal(sim.step(q, k, v), expected.swapaxes(0, 1))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["levels of no power of two", "split tiles, more elements than slots", "fine currents"]
)
def test_widths_of_synthesis(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every integer exactly as wide as in hardware."""
    monkeypatch.setattr(gaincell_sim, "_TEXT", "#define HLS4ATTN_EXACT_WIDTHS\n" + gaincell_sim._TEXT)
    spec, _ = SPECS[name]
    for scale in (0, 1):  # random; all at the top, where sums are largest
        q, k, v = (
            np.maximum(a, scale * f.max) for a, f in zip(random_codes(spec, 50, 3), spec.in_formats, strict=True)
        )
        assert np.array_equal(GainCellSim(spec).step(q, k, v), reference(spec, q, k, v))


# ---- state -----------------------------------------------------------------------------------------------------------


def test_clear_forgets_all_tokens() -> None:
    sim = GainCellSim(TINY)
    for seed, tokens in ((1, 5), (2, 40), (3, 3), (4, 17)):
        q, k, v = random_codes(TINY, tokens, seed)
        assert np.array_equal(sim.step(q, k, v), reference(TINY, q, k, v))
        sim.clear()
        assert sim.count == 0
    assert sim.step(q[:0], k[:0], v[:0]).shape == (0, 2, 8)


@pytest.mark.parametrize("name", ["wraps", "levels of keys and values differ"])
def test_a_table_loaded_between_tokens_counts_for_stored_ones(name: str) -> None:
    first = SPECS[name][0]
    other = replace(first, cell=LINEAR_CELL, leak=0.05)
    codes = random_codes(first, 3 * first.window, 5)
    sim, state = GainCellSim(first), first.empty_state()
    unchanged = first.empty_state()
    differs = 0
    for t, (q, k, v) in enumerate(zip(*codes, strict=True)):
        spec = other if t // 10 % 2 else first
        if t % 10 == 0:
            sim.load_table(*spec.tables[: 1 if name == "wraps" else 2])
        expected, state = spec.step(q, k, v, replace(state, spec=spec.digest))
        plain, unchanged = first.step(q, k, v, unchanged)
        differs += not np.array_equal(expected, plain)
        assert np.array_equal(sim.step(q, k, v), expected)
    assert differs > first.window // 2


def test_refusals_leave_everything_as_it_was() -> None:
    spec = SPECS["levels of keys and values differ"][0]
    sim = GainCellSim(spec)
    q, k, v = random_codes(spec, 30, 6)
    expected = reference(spec, q, k, v)
    keys, values = (t[:-1] for t in spec.tables)
    wrong = [
        (lambda: sim.step(q[0, :1], k[0, :1], v[0, :1]), InputError, r"shape \(heads=2, head_dim=8\).*\(1, 8\)"),
        (lambda: sim.step(q[0], k[:2], v[0]), InputError, "k must be integer codes of shape"),
        (lambda: sim.step(q[0], k[0].astype(float), v[0]), InputError, "k must be integer codes.*float64"),
        (lambda: sim.step(q[None], k[None], v[None]), InputError, "tokens, heads, head_dim"),
        (lambda: sim.step(q[:3], k[:3], v[:3] + 4), FormatError, r"v outside .*Received: \[4, "),
        (lambda: sim.step(q[0] - 16, k[0], v[0]), FormatError, "q outside"),
        (lambda: sim.load_table(keys), InputError, r"currents of values .*\(16, 4\)"),
        (lambda: sim.load_table(keys[:-1], values), InputError, r"currents of keys .*\(15, 16\)"),
        (lambda: sim.load_table(keys, values.astype(float)), InputError, "currents of values .*float64"),
        (lambda: sim.load_table(keys * 2, values), FormatError, r"within \[-2048, 2047\], current_width=12"),
    ]
    for t in range(30):
        call, error, message = wrong[t % len(wrong)]
        with pytest.raises(error, match=message):
            call()
        assert sim.count == min(t, spec.window)
        assert np.array_equal(sim.step(q[t], k[t], v[t]), expected[t])
    shared = GainCellSim(TINY)
    with pytest.raises(InputError, match="share one table; leave values out"):
        shared.load_table(TINY.tables[0], TINY.tables[0] + 1)


def test_specs_that_have_no_hardware() -> None:
    noisy = replace(TINY, nonideal=NonIdeality(read_noise=0.1))
    with pytest.raises(UnsupportedError, match="noise or spread"):
        GainCellSim(noisy)
    with pytest.raises(UnsupportedError, match="here: .*noise or spread"):
        gaincell_parameters(noisy, 8, "here")
    for width in (1, 33):
        with pytest.raises(SpecError, match=f"current_width must be from 2 to 32. Received: {width}"):
            GainCellSim(TINY, width)
    with pytest.raises(SpecError, match="more than 63 bits"):
        structure(GainCellSpec(head_dim=4096, q_levels=256), 32)


def test_instances_are_independent_and_safe_in_threads() -> None:
    def sequence(seed: int) -> bool:
        sim = GainCellSim(TINY)
        q, k, v = random_codes(TINY, 300, seed)
        found = np.stack([sim.step(*token) for token in zip(q, k, v, strict=True)])
        return np.array_equal(found, reference(TINY, q, k, v))

    shared = GainCellSim(TINY)
    token = [np.repeat(a, 25, axis=0) for a in random_codes(TINY, 1, 3)]
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(sequence, range(8)))
        found = np.concatenate(list(pool.map(lambda _: shared.step(*token), range(8))))
    expected = reference(TINY, *(np.repeat(a, 8, axis=0) for a in token))
    assert np.array_equal(found[-1], expected[-1])  # equal tokens: whoever came first
    assert shared.count == TINY.window


# ---- sequences -------------------------------------------------------------------------------------------------------


def test_the_sequence_is_the_steps() -> None:
    spec, tokens = SPECS["split tiles"][0], 60
    q, k, v = random_codes(spec, tokens, 8, (3,))
    sequences = operator_csim(spec, tokens).run(*(a.swapaxes(1, 2) for a in (q, v, k)))
    sim = GainCellSim(spec)
    for sample in range(3):
        steps = sim.step(q[sample], k[sample], v[sample])
        assert np.array_equal(sequences[sample], steps.swapaxes(0, 1))
        sim.clear()


def test_one_operator_refuses_by_name() -> None:
    sim = operator_csim(SPECS["split tiles"][0], 60)
    q, k, v = (a.swapaxes(1, 2) for a in random_codes(SPECS["split tiles"][0], 60, 8, (1,)))
    with pytest.raises(InputError, match="v must be integer codes"):
        sim.run(q, keys=k)
    with pytest.raises(InputError, match="k must be within"):
        sim.run(q, values=v, keys=k + 8)
    with pytest.raises(InputError, match="takes no cols"):
        operator_csim(TINY, 4, 4)


NETWORKS = [
    ("wraps", 40, "head", ()),
    ("split tiles", 30, "channel", pytest.mark.slow),
    ("levels of keys and values differ", 12, "none", pytest.mark.slow),
    ("one tile, never full", 12, "head", pytest.mark.slow),
    ("more elements than slots of a tile", 20, "channel", pytest.mark.slow),
    ("split tiles, more elements than slots", 15, "token", pytest.mark.slow),
]


@pytest.mark.parametrize(("name", "rows", "tail"), [pytest.param(*n[:3], marks=n[3]) for n in NETWORKS])
def test_models_in_both_forms(name: str, rows: int, tail: str) -> None:
    """Dense layers, gain cells with a tail, a residual: arrays, streams of any length, and streams in time."""
    graph = read_graph(cells_model(SPECS[name][0], rows, 1, tail=tail))
    codes = np.random.default_rng(0).integers(-128, 128, (6, rows, 12))
    expected = Reference(graph).run(codes)
    assert len(np.unique(expected)) > 100
    parallel = lower_graph(graph)
    assert [n.op for n in parallel.nodes].count("AttnGainCell") == 1
    assert np.array_equal(design_simulation(parallel).run(codes), expected)

    design = to_stream(parallel)
    lengths = np.array([1, 2, rows // 2, rows - 1, rows, 3])
    cut = np.zeros_like(expected)
    for sample, n in enumerate(lengths):
        short = shortened(graph, graph.input.name, int(n))
        cut[sample, :n] = Reference(short).run(codes[sample : sample + 1, :n])[0]
    assert np.array_equal(design_simulation(design).run(codes, lengths), cut)

    timed = DataflowSim(design)
    for seed in range(4):
        stalled = timed.run(codes, lengths, seed=seed, stalls=(20 * seed, 60 - 20 * seed), interrupts=30)
        assert np.array_equal(stalled.codes, cut)
    whole, plan = timed.run(codes), cycles.schedule(design)
    cells = next(n for n in design.nodes if n.op == "AttnGainCell")
    assert np.array_equal(whole.codes, expected)
    busy = next(busy for process, busy in whole.busy.items() if "gaincell" in process)
    assert busy == len(codes) * cycles.interval(cells)
    assert (whole.latency, whole.interval) == (plan.latency, plan.interval)


@pytest.mark.slow
@pytest.mark.parametrize("io_type", ["io_parallel", "io_stream"])
@pytest.mark.parametrize("backend", ["Vitis", "Vivado"])
def test_projects(tmp_path: Path, io_type: str, backend: str) -> None:
    model = cells_model(TINY, 30, 2)
    project = convert(model, tmp_path / "project", HlsConfig(backend=backend, io_type=io_type))
    codes = np.random.default_rng(0).integers(-128, 128, (4, 30, 12))
    graph = read_graph(model)
    sim, expected = CSim(project), Reference(graph).trace(codes)
    assert np.array_equal(sim.run(codes), expected[graph.output.name])
    for name, found in sim.trace(codes).items():
        assert np.array_equal(found, expected[name]), name


def test_streams_refuse_what_they_cannot_do() -> None:
    apart = lower_graph(cells_graph(TINY, 8))
    with pytest.raises(UnsupportedError, match=r"cells: no streaming gain cells for q .*heads side by side"):
        to_stream(apart)
    merged = lower_graph(read_graph(cells_model(TINY, 8)))
    with pytest.raises(UnsupportedError, match="'cells', which always scans one slot a cycle"):
        to_stream(merged, HlsConfig(io_type="io_stream", layer_reuse_factor={"cells": 2}))


def test_a_window_that_no_sequence_fills_is_not_built() -> None:
    paper = GainCellSpec(tiling="absolute")
    for rows, window, tile in ((5, 5, 5), (64, 64, 64), (65, 128, 64), (1000, 1024, 64), (1025, 1024, 64)):
        _, ints, roms = gaincell_parameters(paper, rows, "cells")
        assert (ints["window"], ints["tile"], roms["currents"].size) == (window, tile, window * 8)
        assert ints["split_tiles"] == (rows > 1024)


def test_constants_of_a_head_are_not_stored_for_every_token() -> None:
    for tail, by, size in (("head", 2, 16), ("channel", 2, 16), ("token", 3, 30 * 16)):
        node = next(
            n for n in lower_graph(read_graph(cells_model(TINY, 30, tail=tail))).nodes if n.op == "AttnGainCell"
        )
        assert (node.ints["scale_by"], node.roms["scale"].size) == (by, size)
        assert (node.ints["offset_by"], node.roms["offset"].size) == (by, size)


def test_more_reuse_than_the_cells_take_makes_the_other_kernels_smaller() -> None:
    """The cells scan one slot a cycle whatever is asked; the others may be slower than they are."""
    graph = read_graph(cells_model(TINY, 30))
    codes = np.random.default_rng(0).integers(-128, 128, (4, 30, 12))
    multipliers, intervals = [], []
    for reuse in (1, 8, 64, 192):
        design = to_stream(lower_graph(graph), HlsConfig(io_type="io_stream", reuse_factor=reuse))
        dense = [n for n in design.nodes if n.op == "AttnDense"]
        multipliers.append(sum(n.ints["in_block"] * n.ints["out_block"] for n in dense))
        intervals.append(cycles.schedule(design).interval)
    cells = next(n for n in design.nodes if n.op == "AttnGainCell")
    assert intervals[0] == intervals[1] == cycles.interval(cells) < intervals[2] <= 30 * 64 < intervals[3] == 30 * 192
    assert multipliers[0] == multipliers[1] > multipliers[2] > multipliers[3] == len(dense)
    found = DataflowSim(design).run(codes)
    assert np.array_equal(found.codes, Reference(graph).run(codes))
    assert (found.latency, found.interval) == (cycles.schedule(design).latency, intervals[3])


# ---- that the tests can fail -----------------------------------------------------------------------------------------


MUTANTS = [
    ("attn_gaincell_scan.h", "at.place == 0", "at.slot == 0", ()),
    ("attn_gaincell_scan.h", "slot == newest", "slot == filled", pytest.mark.slow),
    ("attn_gaincell_scan.h", "CONFIG_T::window - 1) : slot_t(age - 1)", "0) : slot_t(age - 1)", pytest.mark.slow),
    ("attn_gaincell_scan.h", "at.first ? code", "at.last ? code", pytest.mark.slow),
    ("attn_gaincell_scan.h", "wide_t(sizes::pulse_half)", "wide_t(0)", pytest.mark.slow),
    ("attn_gaincell_scan.h", "wide_t(sizes::code_half)", "wide_t(0)", pytest.mark.slow),
    ("attn_gaincell_state.h", "state.filled = 0", "state.filled = state.filled", pytest.mark.slow),
]


@pytest.mark.parametrize(("file", "old", "new"), [pytest.param(*m[:3], marks=m[3]) for m in MUTANTS])
def test_a_wrong_kernel_is_noticed(
    file: str, old: str, new: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(include_dir(), tmp_path / "nnet")
    text = (tmp_path / "nnet" / file).read_text()
    assert old in text
    (tmp_path / "nnet" / file).write_text(text.replace(old, new))
    monkeypatch.setattr(gaincell_sim, "include_dir", lambda: tmp_path / "nnet")
    sim = GainCellSim(TINY)
    sim.step(*random_codes(TINY, 3, 9))
    sim.clear()
    q, k, v = random_codes(TINY, 200, 7)
    assert not np.array_equal(sim.step(q, k, v), reference(TINY, q, k, v))


def test_a_wrong_table_entry_is_noticed() -> None:
    sim = GainCellSim(TINY)
    table = current_rows(TINY).copy()
    table[TINY.window - 1, 3] += 5
    sim.load_table(table)
    q, k, v = random_codes(TINY, 500, 7)
    assert not np.array_equal(sim.step(q, k, v), reference(TINY, q, k, v))


# ---- speed -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_speed_at_the_paper_s_size() -> None:
    """5,000 tokens a second and head with a full window, of the time that this process had the machine."""
    sim = GainCellSim(GainCellSpec())
    codes = random_codes(sim.spec, 1500, 1)
    sim.step(*codes)
    start = time.process_time()
    sim.step(*codes)
    assert 1500 / (time.process_time() - start) > 5_000
