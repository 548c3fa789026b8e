# SPDX-License-Identifier: Apache-2.0
"""Streaming attention in RTL against the reference: every score function and structure, lengths, stalls, cycles."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from attention_cases import CASES, CONTEXT, E2, NARROW, S8, SYMMETRIC_SCORES, Case, consmax, random_case
from rtl_checks import lint

from hls4attn.hls.rtl.net.kernel import RtlKernel, rtl_kernel
from hls4attn.hls.rtl.net.kernel_sim import KernelSim, kernel_unit
from hls4attn.hls.rtl.synth import resources
from hls4attn.hls.stream.attention import with_structure
from hls4attn.hls.stream.attention_graph import attention_graph, attention_node
from hls4attn.hls.stream.attention_sim import AttentionSim
from hls4attn.hls.stream.cycles import interval
from hls4attn.models.errors import Hls4attnError, UnsupportedError
from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.operators import E2SoftmaxSpec, SoftmaxSpec

#: Small ones: groups of heads and all at once, words that do and do not divide a head, other formats of p.
SMALL = [
    Case("consmax", consmax(4), 9, 5, parallel_heads=2, width=2),
    Case("causal", consmax(3, SYMMETRIC_SCORES, causal=True), 8, 4, formats=NARROW),
    Case("softmax", SoftmaxSpec(S8, (0.3, 0.25), causal=True), 10, 4, parallel_heads=2),
    Case("e2online", replace(E2, slice_length=4, causal=True), 11, 4, width=2),
    Case("e2context", replace(CONTEXT, log2e="folded", score_scale=(0.3, 0.41)), 7, 6, parallel_heads=2, width=3),
]


class Numbers(AttentionSim):
    """The reference alone, without a C simulation."""

    def _load(self) -> None:  # type: ignore[override]
        return None


@cache
def kernel_of(case: Case, dsp: bool = True) -> tuple[RtlKernel, Numbers]:
    graph = attention_graph(case.spec, case.rows, case.head_dim, case.formats)
    node = with_structure(attention_node(graph), 1, case.parallel_heads, case.width or case.head_dim)
    numbers = Numbers(case.spec, case.rows, case.head_dim, 1, case.parallel_heads, case.width, case.formats)
    return rtl_kernel(node, graph, dsp), numbers


def inputs(numbers: Numbers, seed: int, batch: int = 14) -> tuple[tuple[Codes, Codes, Codes], Codes]:
    """Codes, and lengths from 1 to all rows: all for the codes at the ends of the formats."""
    lengths = np.random.default_rng(seed).integers(1, numbers.rows + 1, batch)
    lengths[:10] = [*[numbers.rows] * 8, 1, numbers.rows][:batch]
    return numbers.random_codes(batch, seed), lengths


def joined(codes: Codes, lengths: Codes) -> Codes:
    return np.concatenate([rows[:n] for rows, n in zip(codes, lengths, strict=True)])


def right(sim: KernelSim, numbers: Numbers, seed: int, stalls: tuple[int, int], batch: int = 14) -> bool:
    codes, lengths = inputs(numbers, seed, batch)
    formats = numbers.formats.of(numbers.spec)
    run = sim.run(
        [joined(a, lengths) for a in codes],
        [formats[name] for name in "qkv"],
        numbers.node.format,
        lengths.tolist(),
        stalls=stalls,
        seed=seed,
    )
    return np.array_equal(run.rows, joined(numbers.reference(*codes, lengths), lengths))


@pytest.mark.parametrize("case", SMALL, ids=lambda c: c.name)
def test_contexts_are_those_of_the_reference(case: Case) -> None:
    """Sequences of run-time lengths behind each other, with and without gaps and stalls."""
    kernel, numbers = kernel_of(case)
    sim = KernelSim(kernel)
    for seed, stalls in enumerate([(0, 0), (40, 10), (10, 70)]):
        assert right(sim, numbers, seed, stalls), stalls


@pytest.mark.slow
@pytest.mark.parametrize("dsp", [False, True])
@pytest.mark.parametrize("case", [c for c in CASES if c.rows < 100], ids=lambda c: c.name)
def test_contexts_of_the_larger_cases(case: Case, dsp: bool) -> None:
    kernel, numbers = kernel_of(case, dsp)
    sim = KernelSim(kernel)
    for seed, stalls in enumerate([(0, 0), (30, 30)]):
        assert right(sim, numbers, seed, stalls), stalls


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_contexts_of_random_cases(seed: int) -> None:
    kernel, numbers = kernel_of(replace(random_case(seed, 40), lanes=1), bool(seed % 2))
    assert right(KernelSim(kernel), numbers, seed, (20, 20))


@pytest.mark.slow
def test_the_longest_rows() -> None:
    kernel, numbers = kernel_of(next(c for c in CASES if c.name == "consmax_long"))
    assert right(KernelSim(kernel), numbers, 1, (0, 0), batch=3)


# ---- cycles


@pytest.mark.parametrize("causal", [False, True])
def test_a_row_takes_the_clocks_of_its_keys(causal: bool) -> None:
    """Sequences of any length follow each other at the clocks of the cycle model's products, from the first on."""
    case = Case("cycles", consmax(4, causal=causal), 12, 4, parallel_heads=2, width=3)
    kernel, numbers = kernel_of(case)
    sim = KernelSim(kernel)
    for length in (1, 2, 5, 12):
        zeros = np.zeros((6 * length, numbers.channels), dtype=np.int64)
        run = sim.run([zeros] * 3, [Fixed(8, 5)] * 3, Fixed(8, 5), [length] * 6)
        ends = run.ends.reshape(6, length)
        assert set(np.diff(ends[:, -1])) == {interval(numbers.node, length)}
        assert ends[0, 0] == 4 * length + 4 * (1 if causal else length) + 12 + 2 + 1 + 3
        keys = np.arange(2, length + 1) if causal else np.full(length - 1, length)
        assert np.array_equal(np.diff(ends[2]), 4 * keys)


@pytest.mark.slow
@pytest.mark.parametrize(
    "spec", [SoftmaxSpec(S8, (0.3,)), E2SoftmaxSpec(S8, (0.25,)), E2SoftmaxSpec(S8, (0.25,), slice_length=8)]
)
def test_passes_over_a_row_overlap(spec: SoftmaxSpec | E2SoftmaxSpec) -> None:
    """Score functions that wait for a row keep pace with the products, too, once a row is as long as a division."""
    kernel, numbers = kernel_of(Case("passes", spec, 40, 4))
    zeros = np.zeros((120, numbers.channels), dtype=np.int64)
    run = KernelSim(kernel).run([zeros] * 3, [Fixed(8, 5)] * 3, Fixed(8, 5), [40] * 3)
    assert set(np.diff(run.ends.reshape(3, 40)[:, -1])) == {1600}


# ---- refusals, linters, mistakes


def test_more_lanes_are_refused() -> None:
    case = SMALL[0]
    graph = attention_graph(case.spec, case.rows, case.head_dim, case.formats)
    node = with_structure(attention_node(graph), 2, 1, 4)
    with pytest.raises(UnsupportedError, match=f"{node.name}: .*lanes=2; use lanes=1"):
        rtl_kernel(node, graph)


@pytest.mark.parametrize("case", SMALL, ids=lambda c: c.name)
def test_linters_have_nothing_to_say(case: Case, tmp_path: Path) -> None:
    assert lint(tmp_path, kernel_unit(kernel_of(case, False)[0])) == ""


#: In the causal case with NARROW formats: file, what is there, a mistake.
MUTANTS = [
    ("net_attention_scores.sv", "(CAUSAL != 0 ? row : last_row)", "last_row"),
    ("net_attention_sums.sv", "first ? '0 :", "1'b0 ? '0 :"),
    ("net_attention_bank.sv", "filled != {!freed[1], freed[0]}", "1'b1"),
    ("net_attention_function.sv", "HEAD_W'(p * PLACES_OF) | in_place", "HEAD_W'(p * PLACES_OF)"),
    ("net_attention_rows.sv", "assign room = !promised[PLACE_W]", "assign room = 1'b1"),
    ("net_attention_fifo.sv", "empty ? in_data : ring[read]", "ring[read]"),
    ("net_attention_words.sv", "(w / CHUNKS * PARALLEL + e / WIDTH)", "(e / WIDTH)"),
]


@pytest.mark.parametrize(
    "mutant", [pytest.param(m, marks=[pytest.mark.slow] if n > 1 else []) for n, m in enumerate(MUTANTS)]
)
def test_a_mistake_is_found(mutant: tuple[str, str, str]) -> None:
    kernel, numbers = kernel_of(SMALL[1])
    file, there, wrong = mutant
    text = kernel_unit(kernel).sources()[file]
    assert text.count(there) == 1
    sim = KernelSim(kernel, {file: text.replace(there, wrong)})
    try:
        found = right(sim, numbers, 3, (0, 0), 40) and right(sim, numbers, 4, (0, 97), 40)
    except Hls4attnError:
        found = False
    assert not found


# ---- netlists


@pytest.mark.slow
@pytest.mark.parametrize("dsp", [True, False])
@pytest.mark.parametrize("case", SMALL, ids=lambda c: c.name)
def test_the_netlist_gives_the_same(case: Case, dsp: bool) -> None:
    kernel, numbers = kernel_of(case, dsp)
    sim = KernelSim(kernel, netlist=True)
    for seed, stalls in enumerate([(0, 0), (30, 30)]):
        assert right(sim, numbers, seed, stalls), stalls


@pytest.mark.slow
def test_multipliers() -> None:
    """A DSP block for each product, or none."""
    case = Case("size", consmax(2, gamma=200.0), 16, 4, parallel_heads=2)
    assert resources(kernel_unit(kernel_of(case)[0])).dsp == 2 * 2 * 4
    assert resources(kernel_unit(kernel_of(case, False)[0]), dsp=True).dsp == 0
