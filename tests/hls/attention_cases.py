# SPDX-License-Identifier: Apache-2.0
"""Streaming attentions to try: every score function and structure by hand, and random ones."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from hls4attn.hls.stream.attention_graph import AttentionFormats
from hls4attn.hls.stream.attention_sim import AttentionSim
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import (
    ConSmaxSpec,
    ConSmaxSplitSpec,
    E2ContextSpec,
    E2SoftmaxSpec,
    ScoreSpec,
    SoftmaxSpec,
)
from hls4attn.models.operators.e2stages import FOUR_WAY_DIVIDER

S8 = Fixed(8, 2)
V8 = Fixed(8, 5)
SYMMETRIC_SCORES = Fixed(6, 1, overflow="saturate_symmetric")


def consmax(heads: int = 2, in_format: Fixed = S8, split: bool = False, **more: object) -> ConSmaxSpec:
    values: dict[str, object] = {
        "in_format": in_format,
        "beta": tuple(0.5 + 0.5 * h for h in range(heads)),
        "gamma": tuple(20.0 + 7 * h for h in range(heads)),
        "score_scale": tuple(0.2 + 0.05 * (h % 3) for h in range(heads)),
        "out_frac": tuple(7 + 2 * (h % 2) for h in range(heads)),
    }
    return (ConSmaxSplitSpec if split else ConSmaxSpec)(**(values | more))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Case:
    name: str
    spec: ScoreSpec | E2ContextSpec
    rows: int
    head_dim: int
    lanes: int = 1
    parallel_heads: int = 1
    width: int | None = None
    formats: AttentionFormats = field(default_factory=AttentionFormats)

    def sim(self) -> AttentionSim:
        return AttentionSim(
            self.spec, self.rows, self.head_dim, self.lanes, self.parallel_heads, self.width, self.formats
        )


E2 = E2SoftmaxSpec(S8, (0.5, 0.25))
CONTEXT = E2ContextSpec(S8, (0.5, 0.25), v_format=V8, out_format=V8)
NARROW = AttentionFormats(
    q=Fixed(4, 2, rounding="floor"),
    k=Fixed(5, 3, signed=False),
    v=Fixed(6, 4, signed=False),
    output=Fixed(7, 3, rounding="half_up", overflow="wrap"),
    probability=Fixed(6, 6, signed=False, rounding="floor"),
)
SYMMETRIC = AttentionFormats(
    v=Fixed(7, 3, overflow="saturate_symmetric"),
    output=Fixed(6, 2, rounding="floor", overflow="saturate_symmetric"),
    probability=Fixed(5, 4, rounding="half_up", overflow="wrap"),
)

CASES = [
    Case("consmax", consmax(), 24, 8, 4, 2, 3),
    Case("consmax_causal", consmax(3, SYMMETRIC_SCORES, causal=True), 33, 16, 8, 1, 16, NARROW),
    Case("consmax_long", consmax(1, gamma=1000.0, out_frac=15), 1024, 64, 8),
    Case("split16", consmax(2, Fixed(16, 8), split=True, mantissa_bits=11, out_width=12), 19, 12, 2, 1, 5),
    Case("softmax_causal", SoftmaxSpec(S8, (0.3, 0.25, 0.2, 0.35), causal=True), 40, 8, 4, 2),
    Case("softmax_wide", SoftmaxSpec(Fixed(12, 5), (0.3,), out_width=16, out_frac=16, max_length=65), 65, 16, 8, 1, 4),
    Case("e2softmax", replace(E2, divider=FOUR_WAY_DIVIDER), 30, 9, 8, 2, 2, SYMMETRIC),
    Case("e2softmax_online_floor", replace(E2, slice_length=8, out_rounding="floor", causal=True), 50, 8, 4, 1, 4),
    Case("e2context", replace(CONTEXT, log2e="folded", score_scale=(0.3, 0.41)), 37, 64, 1, 1, 32),
    Case("e2context_online", replace(CONTEXT, slice_length=4, causal=True), 29, 8, 4, 2),
]

#: The longest rows, with probabilities fine enough for them.
LONG = [
    Case("consmax_causal", consmax(2, gamma=1000.0, out_frac=15, causal=True), 1024, 64, 8, 2),
    Case("split", consmax(2, split=True, gamma=1000.0, out_frac=15), 1024, 32, 4, 1, 16),
    Case("softmax", SoftmaxSpec(S8, (0.1, 0.2), out_width=12, out_frac=16), 1024, 64, 8),
    Case("e2softmax", replace(E2, score_scale=(0.125, 0.25), out_width=12, out_frac=16), 1000, 64, 8),
    Case("e2context", replace(CONTEXT, slice_length=32, causal=True), 1024, 64, 8, 1, 32),
]


def random_case(seed: int, longest: int) -> Case:
    """Any score function with any structure; scores that neither vanish nor always saturate."""
    rng = np.random.default_rng(seed)

    def pick(*values: object) -> object:
        return values[rng.integers(len(values))]

    heads = int(rng.integers(1, 5))
    head_dim, rows = int(rng.integers(8, 65)), int(np.exp(rng.uniform(0, np.log(longest + 1))))
    lanes = int(pick(*(n for n in (1, 2, 4, 8) if n <= rows)))  # type: ignore[call-overload]
    parallel = int(pick(*(n for n in range(1, heads + 1) if heads % n == 0)))  # type: ignore[call-overload]
    rounding = ("half_even", "half_up", "floor")
    overflow = ("saturate", "saturate_symmetric", "wrap")
    widths = rng.integers(4, 9, 5)
    causal = bool(rng.integers(2))
    q, k, v, y, score = (
        Fixed(int(w), int(w) - 3, bool(s), pick(*rounding), pick(*overflow))  # type: ignore[arg-type]
        for w, s in zip(widths, (True, *rng.integers(0, 2, 3), True), strict=True)
    )
    width, scale = int(widths[4]), tuple(2.0 ** int(n) for n in rng.integers(-3, 1, heads))
    score = Fixed(width, width - 7, True, score.rounding, score.overflow)
    e2 = {
        "score_scale": scale,
        "causal": causal,
        "slice_length": int(pick(0, 8, 16, 32)),  # type: ignore[call-overload]
        "code_width": int(rng.integers(3, 7)),
        "divider": pick((209, 145), FOUR_WAY_DIVIDER),
        "sum_frac": int(rng.integers(8, 18)),
    }
    specs = [
        consmax(heads, score, causal=causal, out_width=width),
        consmax(heads, Fixed(8, 1, True, score.rounding, score.overflow), split=True, causal=causal),
        SoftmaxSpec(score, scale, causal=causal, out_width=width, out_frac=width),
        E2SoftmaxSpec(score, **e2, out_width=width, out_rounding=pick("half_up", "floor")),  # type: ignore[arg-type]
        E2ContextSpec(score, **e2, v_format=v, out_format=Fixed(int(widths[3]), int(widths[3]) - 4)),  # type: ignore[arg-type]
    ]
    p = Fixed(width, width - 1, bool(rng.integers(2)), pick(*rounding), pick(*overflow))  # type: ignore[arg-type]
    formats = AttentionFormats(q, k, v, y, p if rng.integers(2) else None)
    spec = specs[seed % len(specs)]
    width = int(rng.integers(1, head_dim + 1))
    return Case(f"{spec.op_type}_{seed}", spec, rows, head_dim, lanes, parallel, width, formats)
