# SPDX-License-Identifier: Apache-2.0
"""The cycle model of networks is the RTL's clocks, sample by sample: attentions, and streams that part and meet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from attention_cases import CONTEXT, E2, NARROW, S8, consmax
from hls_networks import ZOO, chain, digits, long_skip, residuals, streamed
from hls_sole import ailayernorm, layernorm

from hls4attn.hls.bench import norm_graph
from hls4attn.hls.rtl.cycles import unit_cycles
from hls4attn.hls.rtl.net.cycles import NetworkCycles, network_cycles
from hls4attn.hls.rtl.net.score_machines import E2Softmax, Held, Softmax
from hls4attn.hls.rtl.net.sim import NetworkRun, NetworkSim
from hls4attn.hls.stream.attention_graph import AttentionFormats, attention_graph
from hls4attn.models.errors import InputError, UnsupportedError
from hls4attn.models.export import Graph, read_graph
from hls4attn.models.export.execute import random_codes
from hls4attn.models.operators import E2ContextSpec, ScoreSpec, SoftmaxSpec

pytestmark = pytest.mark.compile
SAMPLES = 4
PLAIN = AttentionFormats()
SOFTMAX = SoftmaxSpec(S8, (0.3, 0.25))

#: Score function, rows, formats, choices.
ATTENTIONS: dict[str, tuple[ScoreSpec | E2ContextSpec, int, AttentionFormats, Mapping[str, int]]] = {
    "consmax, chunks and groups": (consmax(4), 7, PLAIN, {"parallel_heads": 2, "reuse_factor": 3}),
    "consmax": (consmax(2), 7, PLAIN, {}),
    "consmax, causal, requantised": (consmax(2, causal=True), 9, NARROW, {"parallel_heads": 2}),
    "split": (consmax(2, split=True), 7, PLAIN, {"reuse_factor": 2}),
    "softmax": (SOFTMAX, 12, PLAIN, {"parallel_heads": 2}),
    "softmax, causal": (replace(SOFTMAX, causal=True), 40, PLAIN, {}),
    "e2softmax": (E2, 14, PLAIN, {}),
    "e2softmax, causal": (replace(E2, causal=True), 24, PLAIN, {"parallel_heads": 2}),
    "e2softmax, online": (replace(E2, slice_length=8), 20, PLAIN, {"parallel_heads": 2}),
    "e2context, online": (replace(CONTEXT, slice_length=4, causal=True), 13, PLAIN, {"parallel_heads": 2}),
}
GRAPHS = {
    "one tensor, two readers": (lambda: residuals(2), {"reuse_factor": 3}),
    "flatten": (lambda: chain((4, 6), (1, 24), (8, 3)), {}),
    "from a vector": (lambda: chain((12,), (3, 4), (12,)), {"reuse_factor": 5}),
    "nine readers": (lambda: residuals(9), {"reuse_factor": 2}),
    "long skip": (long_skip, {"lanes": 1}),
    "norm of one unit": (lambda: replace(norm_graph(ailayernorm(24), 9), name="norms"), {"reuse_factor": 24}),
    "norm of four units": (lambda: replace(norm_graph(ailayernorm(12), 5), name="norms"), {"reuse_factor": 6}),
    "long skip, slower": (long_skip, {"lanes": 1, "reuse_factor": 4, "parallel_heads": 2}),
}
FAST = ("consmax, chunks and groups", "one tensor, two readers")


def cases(names: Mapping[str, object]) -> list[object]:
    return [pytest.param(n, marks=() if n in FAST else pytest.mark.slow, id=n) for n in names]


def attention(name: str) -> tuple[Graph, dict[str, object]]:
    spec, rows, formats, choices = ATTENTIONS[name]
    return replace(attention_graph(spec, rows, 8, formats), name="heads"), {"lanes": 1, **choices}


def same(run: NetworkRun, found: NetworkCycles) -> bool:
    return np.array_equal(run.starts, found.starts) and np.array_equal(run.ends, found.ends)


def check(graph: Graph, choices: Mapping[str, object], dsp: tuple[str, ...] | None = None) -> None:
    design = streamed(graph, **choices)
    run = NetworkSim(design, graph, dsp).run(random_codes(graph.input, SAMPLES, 1))
    found = network_cycles(design, graph, SAMPLES, dsp=dsp)
    assert same(run, found)
    assert (found.latency, found.interval) == (run.latency, run.interval)
    assert [network_cycles(design, graph, n, dsp=dsp).cycles(n) for n in (1, SAMPLES)] == [run.ends[0], run.cycles]


@pytest.mark.parametrize("name", cases(ATTENTIONS))
def test_attention(name: str) -> None:
    check(*attention(name))


@pytest.mark.parametrize("name", cases(GRAPHS))
def test_streams_that_part_and_meet(name: str) -> None:
    graph, choices = GRAPHS[name]
    check(graph(), choices)


def test_products_in_luts_take_other_clocks() -> None:
    """A chain of DSP blocks is a clock longer than a sum of products from LUTs."""
    graph, choices = chain((4, 24), (8, 12)), {"reuse_factor": 2}
    check(graph, choices, ())
    design = streamed(graph, **choices)
    assert network_cycles(design, graph, dsp=()).latency < network_cycles(design, graph).latency


@pytest.mark.slow
@pytest.mark.parametrize("model", ["consmax", "softmax", "sole"])
def test_digits(model: str) -> None:
    graph = read_graph(ZOO / f"{model}.onnx")
    choices = {"lanes": 1, "parallel_heads": 2}
    design = digits(model, **choices)
    run = NetworkSim(design, graph).run(random_codes(graph.input, SAMPLES, 1))
    assert same(run, network_cycles(design, graph, SAMPLES))


def test_a_network_with_other_clocks_differs() -> None:
    """A product's register more in front of the sum of scores."""
    graph, choices = attention(FAST[0])
    design = streamed(graph, **choices)
    found = network_cycles(design, graph, SAMPLES)
    file = "net_attention_fifo.sv"
    text = NetworkSim(design, graph).unit.sources()[file]
    right, wrong = "assign room = !promised[PLACE_W];", "assign room = promised < 2;"
    assert text.count(right) == 1
    run = NetworkSim(design, graph, sources={file: text.replace(right, wrong)}).run(
        random_codes(graph.input, SAMPLES, 1)
    )
    assert not same(run, found)


@pytest.mark.parametrize("stall", [0, 40])
@pytest.mark.parametrize("kind", ["softmax", "e2softmax", "online", "consmax"])
def test_machines_of_score_functions(kind: str, stall: int) -> None:
    """Word by word they are the units; with a receiver that waits they lose and invent nothing."""
    spec: ScoreSpec = {
        "softmax": SOFTMAX,
        "e2softmax": E2,
        "online": replace(E2, slice_length=5),
        "consmax": consmax(2),
    }[kind]
    rng = np.random.default_rng(stall)
    lengths = rng.integers(1, 31, 50)
    machine: Held | Softmax | E2Softmax = Held(1)
    if isinstance(spec, SoftmaxSpec):
        machine = Softmax(spec.out_frac + spec.guard + 2)
    elif spec.op_type == "E2Softmax":
        machine = E2Softmax(30, getattr(spec, "slice_length", 0))
    lasts = [k == n - 1 for n in lengths for k in range(n)]
    given: list[bool] = []
    ends, clock, sent = [], 0, 0
    while len(given) < len(lasts):
        taken = machine.valid and rng.integers(100) >= stall
        word = lasts[sent] if sent < len(lasts) and machine.ready else None
        sent += word is not None
        if taken:
            given.append(bool(machine.last))
            ends += [clock + 1] if given[-1] else []
        machine.step(word, taken)
        clock += 1
    assert given == lasts
    if not stall:
        assert ends == unit_cycles(spec, len(lengths), lengths, row_max=30).ends.tolist()


def test_what_it_refuses() -> None:
    graph = residuals(2)
    design = streamed(graph)
    with pytest.raises(InputError, match="at least one sample"):
        network_cycles(design, graph, 0)
    with pytest.raises(InputError, match="no sequences of 3 tokens"):
        network_cycles(design, graph, length=3)


def test_an_exact_norm_is_refused_with_what_to_take_instead() -> None:
    graph = replace(norm_graph(layernorm(12), 5), name="norms")
    with pytest.raises(UnsupportedError, match="no cycle model for net_layernorm.*use AILayerNorm there"):
        network_cycles(streamed(graph), graph)
