# SPDX-License-Identifier: Apache-2.0
"""FIFO depths of streaming networks: enough that nothing deadlocks in any order, and no more than that."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hls_models import A8
from hls_networks import GRAPHS, digits, long_skip, streamed
from hls_typed import TypedMaker

from hls4attn.hls import Design
from hls4attn.hls.design import HwNode
from hls4attn.hls.stream.cycles import is_attention
from hls4attn.hls.stream.fifos import DEFAULT_DEPTH
from hls4attn.models.formats import Fixed


class DeadlockError(Exception):
    pass


def steps(node: HwNode, rows: dict[str, int]) -> list[tuple[str, list[tuple[str, str]]]]:
    """The processes of a kernel as reads and writes of streams and banks in order, one sequence."""
    reads = [[("read", name)] * rows[name] for name in node.inputs]
    write = [("write", name) for name in node.outputs]
    if node.op == "AttnPermute":
        emit = [("take", "bank"), *(write * rows[node.output]), ("free", "bank")]
        return [("load", [("want", "bank"), *reads[0], ("give", "bank")]), ("emit", emit)]
    if is_attention(node):
        q, k, v = reads
        row = [step for read in q for step in (read, *write)]
        takes = [[(what, bank) for bank in ("keys", "values")] for what in ("take", "free")]
        return [
            ("keys", [("want", "keys"), *k, ("give", "keys")]),
            ("values", [("want", "values"), *v, ("give", "values")]),
            ("rows", [*takes[0], *row, *takes[1]]),
        ]
    if node.op == "AttnReduceSum":
        return [("rows", [*reads[0], *write])]
    return [("rows", [step for row in zip(*reads, strict=True) for step in (*row, *write)])]


def run_network(design: Design, seed: int, sequences: int = 5) -> None:
    """An untimed simulation of bounded FIFOs and double banks, processes in random order."""
    rng = np.random.default_rng(seed)
    rows = {name: s.rows for name, s in design.streams.items()}
    fill: Counter[str] = Counter()
    banks: Counter[tuple[str, str]] = Counter()  # full halves
    used: Counter[tuple[str, str]] = Counter()  # halves in use

    def process(node: str, program: list[tuple[str, str]]) -> Iterator[None]:
        for what, name in program * sequences:
            key = (node, name)
            while True:
                if what == "read" and fill[name]:
                    fill[name] -= 1
                elif what == "write" and (name == design.result or fill[name] < design.streams[name].depth):
                    fill[name] += 1
                elif what == "want" and used[key] < 2:
                    used[key] += 1
                elif what == "give":
                    banks[key] += 1
                elif what == "take" and banks[key]:
                    banks[key] -= 1
                elif what == "free":
                    used[key] -= 1
                else:
                    yield
                    continue
                if rng.random() < 0.2:
                    yield
                break

    port = design.input.name
    running = deque([process("source", [("write", port)] * rows[port])])
    running += [process(n.name, program) for n in design.nodes for _, program in steps(n, rows)]
    idle = 0
    while running:
        before = (fill.total(), fill.copy(), banks.copy(), used.copy())
        running.rotate(int(rng.integers(len(running))))
        current = running.popleft()
        try:
            next(current)
            running.append(current)
        except StopIteration:
            pass
        idle = idle + 1 if before == (fill.total(), fill, banks, used) else 0
        if idle > 60 * len(running) + 60:
            raise DeadlockError(dict(fill))
    assert fill[design.result] == sequences * rows[design.result]
    assert fill.total() == fill[design.result]


SMALL = ("classifier", "long_skip", "flatten", "readers_9")


@pytest.mark.parametrize("name", SMALL)
def test_derived_depths_cannot_deadlock(name: str) -> None:
    design = streamed(GRAPHS[name]())
    for seed in range(3):
        run_network(design, seed)


@pytest.mark.parametrize("name", ["classifier", "long_skip"])
def test_each_deep_fifo_is_needed(name: str) -> None:
    """One at a time: a FIFO that holds back an attention's rows stops the network if it is shallow."""
    design = streamed(GRAPHS[name](), reuse_factor=4)
    deep = [n for n, s in design.streams.items() if s.depth > s.rows > 1]
    assert deep
    for victim in deep:
        shallow = design.streams | {victim: replace(design.streams[victim], depth=DEFAULT_DEPTH)}
        with pytest.raises(DeadlockError):
            run_network(replace(design, streams=shallow), 0)


def test_depths_say_how_far_paths_part() -> None:
    design = digits("consmax")
    depths = {name: s.depth for name, s in design.streams.items()}
    assert depths["block0_attention_k"] == depths["block0_attention_v"] == DEFAULT_DEPTH
    assert 16 <= depths["block0_attention_q"] <= 18
    assert 16 < depths["tokens__3"] < 32  # around the whole attention
    assert DEFAULT_DEPTH < depths["block0_norm0_out__1"] < 12  # around two dense kernels
    around = []
    for blocks in (1, 2, 3):
        long = streamed(long_skip(blocks), reuse_factor=4)
        skip = next(n for n in long.nodes if n.name == "skip")
        around.append(long.streams[skip.inputs[0]].depth)
    assert around[2] - around[1] == around[1] - around[0] > 6


def test_one_process_more_on_a_branch_is_one_row_more_beside_it() -> None:
    def beside(layers: int) -> int:
        m = TypedMaker((8, 4), Fixed(6, 2), 3)
        x = m.quant(m.add("MatMul", "x", m.constant((4, 4), Fixed(4, 2))), A8)
        y = x
        for _ in range(layers):
            y = m.quant(m.add("MatMul", y, m.constant((4, 4), Fixed(4, 2))), A8)
        design = streamed(m.graph(m.quant(m.add("Add", x, y), A8)), reuse_factor=16)
        return design.streams[design.nodes[-1].inputs[0]].depth

    found = [beside(n) for n in (1, 2, 3, 4)]
    assert len(set(np.diff(found))) == 1
    assert found[1] > found[0]
