# SPDX-License-Identifier: Apache-2.0
"""Random parameters within every range, together rather than one at a time, and full-scale rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hls_sole import context_codes, row_codes
from hls_typed import Many

from hls4attn.hls import lower_graph
from hls4attn.hls.bench import context_graph, norm_graph, operator_graph
from hls4attn.models.errors import SpecError
from hls4attn.models.export import Reference
from hls4attn.models.export.graph import Graph
from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.operators import AILayerNormSpec, E2ContextSpec, E2SoftmaxSpec, IntegerLayerNormSpec

COUNT = 12


class Draw:
    """Random integers and choices."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def int(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high, endpoint=True))

    def of(self, *choices: object) -> object:
        return choices[self.int(0, len(choices) - 1)]

    def format(self, low: int, high: int, signed: bool = True) -> Fixed:
        return Fixed(self.int(low, high), self.int(-2, 12), signed, overflow=self.of("saturate", "saturate_symmetric"))  # type: ignore[arg-type]

    def core(self, cols: int) -> dict[str, object]:
        folded, frac = self.int(0, 1), self.int(4, 16)
        entries = 2 << self.int(0, 2)
        falling = np.sort(self.rng.choice(np.arange(1, 1 << frac), entries, replace=False))[::-1]
        scales = self.rng.uniform(0.05, 3.0, 2) if folded else np.exp2(self.rng.integers(-3, 2, 2))
        return {
            "in_format": self.format(2, 12),
            "score_scale": tuple(scales),
            "code_width": self.int(3, 6),
            "sum_frac": self.int(8, 31),
            "divider": tuple(falling),
            "divider_frac": frac,
            "slice_length": self.of(0, self.int(1, cols)),
            "log2e": "folded" if folded else "shift",
            "scale_bits": self.int(4, 12),
            "max_length": self.int(cols, 128),
        }


def drawn(seed: int, make: Callable[[Draw], tuple[Graph, Codes]]) -> tuple[Graph, Codes]:
    """The first legal draw."""
    d = Draw(seed)
    for _ in range(1000):
        try:
            return make(d)
        except SpecError:
            continue
    raise AssertionError("no legal parameters in 1000 draws")


def softmax(d: Draw) -> tuple[Graph, Codes]:
    causal, cols = bool(d.int(0, 1)), d.int(1, 40)
    spec = E2SoftmaxSpec(
        **d.core(cols),  # type: ignore[arg-type]
        causal=causal,
        out_width=d.int(2, 16),
        out_frac=d.int(1, 16),
        out_rounding=d.of("half_up", "floor"),  # type: ignore[arg-type]
    )
    graph = operator_graph(spec, cols if causal else d.int(1, 3), cols)
    return graph, row_codes(graph.input, d.int(0, 99), 20)


def context(d: Draw) -> tuple[Graph, Codes]:
    causal, cols = bool(d.int(0, 1)), d.int(1, 20)
    values, out = d.format(2, 16, bool(d.int(0, 1))), d.format(2, 16)
    spec = E2ContextSpec(**d.core(cols), causal=causal, v_format=values, out_format=out)  # type: ignore[arg-type]
    rows = cols if causal else d.int(1, 3)
    graph = context_graph(spec, rows, cols, d.int(1, 3))
    return graph, context_codes(spec, rows, graph.input, d.int(0, 99))


def _affine(d: Draw, channels: int) -> dict[str, object]:
    scale = float(np.exp2(d.int(-6, 3)))
    return {
        "out_format": d.format(2, 16),
        "gamma": tuple(d.rng.normal(0, scale, channels)),
        "beta": tuple(d.rng.normal(0, scale, channels)),
        "bias_frac": d.int(0, 6),
        "gamma_bits": d.int(4, 12),
    }


def ailayernorm(d: Draw) -> tuple[Graph, Codes]:
    channels = d.int(1, 70)
    spec = AILayerNormSpec(
        in_format=d.format(2, 24, bool(d.int(0, 1))),
        **_affine(d, channels),  # type: ignore[arg-type]
        alpha=tuple(d.rng.integers(0, d.int(0, 3), channels, endpoint=True)),
        zero_point=d.int(0, 255),
        multiplier=d.of(1, d.int(1, 65535)),  # type: ignore[arg-type]
        shift=d.int(0, 31),
        squares=d.of("paper", "lut32", "exact"),  # type: ignore[arg-type]
        rsqrt_entries=1 << d.int(3, 10),
        rsqrt_bits=d.int(6, 14),
        mean_frac=d.int(0, 7),
    )
    graph = norm_graph(spec, 2)
    return graph, row_codes(graph.input, d.int(0, 99), 40)


def layernorm(d: Draw) -> tuple[Graph, Codes]:
    channels = d.int(1, 70)
    spec = IntegerLayerNormSpec(
        in_format=d.format(2, 16, bool(d.int(0, 1))),
        **_affine(d, channels),  # type: ignore[arg-type]
        root_bits=d.int(8, 20),
        rsqrt_bits=d.int(8, 20),
    )
    graph = norm_graph(spec, 2)
    return graph, row_codes(graph.input, d.int(0, 99), 40)


@pytest.mark.slow
@pytest.mark.compile
@pytest.mark.parametrize("defines", [(), ("HLS4ATTN_EXACT_WIDTHS",)], ids=["native", "exact_widths"])
@pytest.mark.parametrize("make", [softmax, context, ailayernorm, layernorm])
def test_random_parameters(make: Callable[[Draw], tuple[Graph, Codes]], defines: tuple[str, ...]) -> None:
    cases = [drawn(seed, make) for seed in range(COUNT)]
    many = Many([lower_graph(graph) for graph, _ in cases], defines)
    seen = 0
    for k, (graph, codes) in enumerate(cases):
        expected = Reference(graph).trace(codes)
        for name, value in many.trace(k, codes).items():
            assert np.count_nonzero(value != expected[name]) == 0, f"draw {k}: {name}"
        seen += len(np.unique(expected[graph.output.name]))
    assert seen > 10 * COUNT
