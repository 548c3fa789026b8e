# SPDX-License-Identifier: Apache-2.0
"""The cycle model against figures worked out by hand, and against a walk through every iteration."""

from __future__ import annotations

import numpy as np
import pytest
import stream_nodes as made
from hypothesis import given, settings
from hypothesis import strategies as st

from hls4attn.hls.config import HlsConfig
from hls4attn.hls.lowering import lower_graph
from hls4attn.hls.stream import cycles
from hls4attn.hls.stream.dataflow import DataflowSim
from hls4attn.hls.stream.network import to_stream
from hls4attn.models.export.execute import random_codes
from hls4attn.models.export.reader import read_graph
from hls4attn.models.zoo import zoo_model

CONSMAX = "AttnAttentionConSmax"


# ---- iterations, by hand ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        # 16 rows; 32 inputs in blocks of 8: 4 passes; 10 outputs in blocks of 4: 3 passes; 16 * 4 * 3
        (made.dense(16, 32, 10, in_block=8, out_block=4), {"dense": 192}),
        (made.dense(16, 32, 10, in_block=32, out_block=10), {"dense": 16}),
        # 33 channels, 8 lanes: 5 cycles a row, 7 rows
        (made.elementwise("AttnAffine", 7, 33, 8), {"affine": 35}),
        (made.elementwise("AttnAdd", 7, 33, 8), {"add": 35}),
        (made.elementwise("AttnMultiply", 7, 33, 33), {"multiply_elements": 7}),
        # 16 rows of 32 / 8 = 4 cycles, and the tail as a 17th
        (made.reduce_sum(16, 32, 8), {"reduce_sum": 68}),
        (made.fork(16, 32, 3), {"fork": 16}),
        (made.permute(16, 4, 8, 8), {"load": 16, "emit": 8}),
        # 5 rows of ceil(12 / 4) = 3 cycles in each of three processes
        (made.layernorm(5, 12, 4), {"statistics": 15, "prepare": 15, "affine": 15}),
        (made.ailayernorm(5, 12, 5), {"statistics": 15, "prepare": 15, "affine": 15}),
        # 2 heads one by one, R = 8 / 4 = 2 chunks, 10 keys in slices of 4: 3; scores 10 rows * 2 * 3 = 60 words
        (
            made.attention(CONSMAX, 10, 2, 8, lanes=4, width=4),
            {"load_keys": 40, "load_values": 40, "score_slices": 120, "look_up_slices": 60, "weigh_slices": 120},
        ),
        # causal: slices 1 1 1 1 2 2 2 2 3 3 = 18, times 2 heads at once: one group, R = 1
        (
            made.attention(CONSMAX, 10, 2, 8, lanes=4, parallel_heads=2, width=8, causal=1),
            {"load_keys": 10, "load_values": 10, "score_slices": 18, "look_up_slices": 18, "weigh_slices": 18},
        ),
    ],
)
def test_cycles_of_every_process(node, expected):
    assert dict(cycles.processes(node)) == expected
    assert cycles.interval(node) == max(expected.values())


@given(st.data())
def test_iterations_of_an_attention_one_by_one(data):
    """The loops of score_slices, walked."""
    rows, head_dim = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    heads = data.draw(st.sampled_from([1, 2, 4]))
    lanes, width = data.draw(st.integers(1, rows)), data.draw(st.integers(1, head_dim))
    together = data.draw(st.sampled_from([n for n in (1, 2, 4) if heads % n == 0]))
    length, causal = data.draw(st.integers(1, rows)), data.draw(st.booleans())
    walked = 0
    for row in range(length):
        for _ in range(0, heads, together):
            for _ in range(0, row + 1 if causal else length, lanes):
                for _ in range(0, head_dim, width):
                    walked += 1
    node = made.attention(CONSMAX, rows, heads, head_dim, lanes, together, width, causal=int(causal))
    assert cycles.interval(node, length) == walked


def test_a_shorter_sequence():
    assert cycles.processes(made.dense(16, 32, 10, 8, 4), 5) == [("dense", 60)]
    assert cycles.processes(made.reduce_sum(16, 32, 8), 5) == [("reduce_sum", 24)]
    short = dict(cycles.processes(made.attention(CONSMAX, 16, 1, 4, lanes=4, width=2), 5))
    assert short["load_keys"] == 5 * 2
    assert short["score_slices"] == 5 * 2 * 2  # 5 rows, ceil(5 / 4) slices, 2 chunks
    assert dict(cycles.processes(made.permute(16, 4, 8, 8), 3)) == {"load": 16, "emit": 3}


@pytest.mark.parametrize(
    ("node", "latency"),
    [
        # read 1, ROM 1, multiplier 2, 8 products and the sum so far: 4 levels, tail 1, write 1
        (made.dense(16, 32, 10, 8, 4), 10),
        # the same without a sum so far: 3 levels less one; scale 2, offset 1
        (made.dense(16, 8, 10, 8, 4, scale_by=2, offset_by=2), 12),
        (made.elementwise("AttnAffine", 4, 4, 4), 3),
        (made.elementwise("AttnMultiply", 4, 4, 4), 5),
        (made.fork(4, 4, 2), 2),
        # prepare: read 1, product 2, difference, leading one, shift 3, root 16, dividend 16 + 16 + 2, write 1
        (made.layernorm(5, 12, 4), 57),
        # affine: read 1, shift, difference 2, products 2 + 2, shift, sum, limit 3, tail 1, write 1
        (made.ailayernorm(5, 12, 4), 12),
    ],
)
def test_depth_of_pipelines(node, latency):
    assert cycles.latencies(node) == {"latency": latency}


def test_the_longest_sequence_of_a_page_of_text():
    """1024 tokens, 12 heads of 64, one head and one key at a time, all elements at once."""
    node = made.attention(CONSMAX, 1024, 12, 64, width=64)
    assert cycles.interval(node) == 1024 * 12 * 1024


def test_io_parallel_kernels_by_hand():
    graph = read_graph(zoo_model("digits-vit").folder / "consmax.onnx")
    nodes = {n.name: n for n in lower_graph(graph).nodes}
    expected = {
        "gather": 32 * 4,  # 4 * 4 * 2 rows of 2 pixels
        "embed_matmul": 16 * 4,
        "block0_attention_qk": 2 * (16 + 16 * 4),  # 2 heads: load 16 rows of K^T, then 16 rows
        "block0_attention_score": 2 * 16 * 4,
        "pool_sum": 16 * 4,
        "head_matmul": 4,
    }
    assert {name: cycles.parallel_cycles(nodes[name], 4) for name in expected} == expected


# ---- times, iteration by iteration -----------------------------------------------------------------------------------


class Walk:
    """One process: its clock, as the definition says, without any formula."""

    def __init__(self, latency, begin=0):
        self.latency, self.time = latency, begin

    def read(self, visible):
        self.time = max(self.time, int(visible))

    def write(self):
        return self.time + self.latency + 1

    def step(self, interval=1):
        self.time += interval


def walk_rows(inputs, rows, per_row, latency):
    """A process that reads a row in the first iteration of a row and writes one in the last."""
    p, out = Walk(latency), []
    for r in range(rows):
        for i in range(per_row):
            if i == 0:
                for t in inputs:
                    p.read(t[r])
            if i == per_row - 1:
                out.append(p.write())
            p.step()
    return out, p


def walk_function(node, scores, loops, latency):
    """Row by row, with queues: maxima of slices or rows, sums of rows, one division a row."""

    def forward(words):
        p, out = Walk(latency), []
        for waits in words:
            for visible in waits:
                p.read(visible)
            out.append(p.write())
            p.step()
        return out

    seen = forward([t] for t in scores)
    if "ConSmax" in node.op:
        return seen
    units = {}
    for place, (i, g, _) in enumerate(loops):
        units.setdefault((i, g), []).append(place)
    words = node.ints.get("slice_length", 0) // node.ints["lanes"] or len(seen)
    maxima = {}
    for places in units.values():
        for start in range(0, len(places), words):
            part = places[start : start + words]
            maxima[part[0]] = seen[part[-1]]
    codes = forward([seen[k], *([maxima[k]] if k in maxima else [])] for k in range(len(seen)))
    sums = [codes[places[-1]] for places in units.values()]
    if "Softmax" in node.op and "E2" not in node.op:
        sums = forward([t] for t in sums)
    first = {places[0]: t for places, t in zip(units.values(), sums, strict=True)}
    return forward([codes[k], *([first[k]] if k in first else [])] for k in range(len(codes)))


def walk_attention(node, inputs, rows, latency):
    n = node.ints
    groups, chunks = n["heads"] // n["parallel_heads"], -(-n["head_dim"] // n["width"])
    banks = []
    for t in inputs[1:]:
        _, p = walk_rows([t], rows, groups * chunks, latency)
        banks.append(p.time + latency + 1)
    loops = [
        (i, g, s)
        for i in range(rows)
        for g in range(groups)
        for s in range(-(-(i + 1 if n.get("causal") else rows) // n["lanes"]))
    ]
    p, scores = Walk(latency, banks[0]), []
    for i, g, s in loops:
        for c in range(chunks):
            if (g, s, c) == (0, 0, 0):
                p.read(inputs[0][i])
            if c == chunks - 1:
                scores.append(p.write())
            p.step()
    weights = walk_function(node, scores, loops, latency)
    p, out = Walk(latency, banks[1]), []
    for k, (visible, (i, _, _)) in enumerate(zip(weights, loops, strict=True)):
        for c in range(chunks):
            if c == 0:
                p.read(visible)
            if c == chunks - 1 and (k + 1 == len(loops) or loops[k + 1][0] != i):
                out.append(p.write())
            p.step()
    return out


arrivals = st.lists(st.integers(0, 40), min_size=12, max_size=12).map(np.cumsum)


@settings(max_examples=60, deadline=None)
@given(arrivals, arrivals, st.integers(1, 12), st.integers(1, 7), st.integers(1, 30))
def test_row_times_of_kernels_with_a_constant_pace(a, b, rows, lanes, latency):
    node = made.elementwise("AttnAdd", 12, 7, lanes, latency=latency)
    expected, _ = walk_rows([a, b], rows, -(-7 // lanes), latency)
    assert cycles.row_times(node, [a, b], rows).tolist() == expected

    statistics, _ = walk_rows([a], rows, -(-7 // lanes), latency)
    p, prepared = Walk(latency), []
    for visible in statistics:  # one iteration a row
        p.read(visible)
        prepared.append(p.write())
        p.step(-(-7 // lanes))
    expected, _ = walk_rows([prepared], rows, -(-7 // lanes), latency)
    for norm in (made.layernorm(12, 7, lanes, latency=latency), made.ailayernorm(12, 7, lanes, latency=latency)):
        assert cycles.row_times(norm, [a], rows).tolist() == expected


@settings(max_examples=40, deadline=None)
@given(arrivals, st.integers(1, 12), st.integers(1, 7), st.integers(1, 30))
def test_row_times_of_a_sum_and_a_transpose(a, rows, lanes, latency):
    pool = made.reduce_sum(12, 7, lanes)
    pool.ints["latency"] = latency
    _, p = walk_rows([a], rows, -(-7 // lanes), latency)
    for _ in range(-(-7 // lanes) - 1):
        p.step()
    assert cycles.row_times(pool, [a], rows).tolist() == [p.write()]

    move = made.permute(12, 4, 6, 8)
    move.ints["latency"] = latency
    _, p = walk_rows([a], 12, 1, latency)
    emit, out = Walk(latency, p.time + latency + 1), []
    for _ in range(6):
        out.append(emit.write())
        emit.step()
    assert cycles.row_times(move, [a]).tolist() == out


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(made.MEMBERS)),
    st.tuples(arrivals, arrivals, arrivals),
    st.integers(1, 12),
    st.integers(1, 5),
    st.sampled_from([(1, 1), (2, 1), (2, 2), (4, 2)]),
    st.integers(1, 6),
    st.booleans(),
    st.integers(0, 3),
    st.integers(1, 20),
)
def test_row_times_of_attention(op, inputs, rows, lanes, heads, width, causal, words, latency):
    sliced = {"slice_length": words * lanes} if "E2" in op else {}
    node = made.attention(op, 12, heads[0], 6, lanes, heads[1], width, causal=int(causal), latency=latency, **sliced)
    assert cycles.row_times(node, list(inputs), rows).tolist() == walk_attention(node, inputs, rows, latency)


@given(st.lists(st.integers(0, 100), min_size=1, max_size=20), st.integers(1, 9))
def test_iterations_start_when_they_can(ready, cost):
    found = cycles.starts(np.array(ready), cost)
    now = -cost
    for t, start in zip(ready, found, strict=True):
        now = max(now + cost, t)
        assert start == now


# ---- banks, and the whole network ------------------------------------------------------------------------------------


def test_banks_of_two_halves():
    """16 lanes: K is filled in 16 * 2 cycles and read in as many, 11 + 2 more: 77 cycles for two sequences."""
    node = made.attention(CONSMAX, 16, 2, 8, lanes=16, width=8, latency=11)
    assert cycles.interval(node) == 32
    assert cycles.steady_interval(node) == 39
    slow = made.attention(CONSMAX, 16, 2, 8, lanes=4, width=8, latency=11)  # filled in 32, read in 128
    assert cycles.steady_interval(slow) == cycles.interval(slow) == 128
    move = made.permute(16, 4, 8, 8)
    move.ints["latency"] = 20
    assert cycles.steady_interval(move) == (16 + 8 + 22) // 2


@pytest.mark.compile
@pytest.mark.parametrize(
    ("model", "reuse", "lanes"),
    [
        ("consmax", 16, 4),
        pytest.param("sole", 8, 1, marks=pytest.mark.slow),
        pytest.param("softmax", 16, 3, marks=pytest.mark.slow),
        pytest.param("consmax", 2, 2, marks=pytest.mark.slow),
    ],
)
def test_the_schedule_is_what_the_dataflow_simulation_measures(model, reuse, lanes):
    """Cycle for cycle: every process, the latency, the interval."""
    plain = lower_graph(read_graph(zoo_model("digits-vit").folder / f"{model}.onnx"))
    design = to_stream(plain, HlsConfig(io_type="io_stream", reuse_factor=reuse, lanes=lanes))
    sim, codes = DataflowSim(design), random_codes(design.input, 4, 0)
    for length in (1, 7):
        shorter = sim.run(codes, lengths=[length] * 4)
        assert cycles.schedule(design, length).latency == shorter.latency
    found = sim.run(codes)
    plan = cycles.schedule(design)
    assert (plan.latency, plan.interval) == (found.latency, found.interval)
    busy = [n // 4 for name, n in found.busy.items() if name not in ("source", "sink")]
    assert sorted(busy) == sorted(n for node in design.nodes for _, n in cycles.processes(node))


# ---- properties ------------------------------------------------------------------------------------------------------


@given(st.integers(1, 64), st.integers(1, 64), st.data())
def test_smaller_blocks_never_take_fewer_cycles(n_in, n_out, data):
    blocks = data.draw(st.tuples(st.integers(1, n_in), st.integers(1, n_out)))
    smaller = data.draw(st.tuples(st.integers(1, blocks[0]), st.integers(1, blocks[1])))
    assert cycles.interval(made.dense(4, n_in, n_out, *smaller)) >= cycles.interval(made.dense(4, n_in, n_out, *blocks))


@given(st.integers(1, 20), st.integers(1, 64), st.integers(1, 64), st.integers(1, 60))
def test_a_norms_fifo_holds_the_rows_that_wait(rows, channels, lanes, latency):
    """Statistics of row r + d are written when row r has left, if d rows fit."""
    node = made.layernorm(rows, channels, min(lanes, channels), latency=latency)
    pace, depth = cycles.row_interval(node), cycles.waiting_rows(node)
    arrives = pace * depth + latency  # row `depth` after row 0, its write
    leaves = pace + 2 * (latency + 1) - 1  # row 0 is read by the affine process
    assert depth >= 2
    assert arrives >= leaves + 1
    assert depth == 2 or pace * (depth - 1) + latency < leaves + 1
