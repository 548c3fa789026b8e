# SPDX-License-Identifier: Apache-2.0
"""Rows a second of the integer references on one core: ``python tests/models/sole/bench_sole.py``."""

from __future__ import annotations

import time

import numpy as np

from hls4attn.models.formats import Fixed
from hls4attn.models.operators import AILayerNormSpec, E2ContextSpec, E2SoftmaxSpec, IntegerLayerNormSpec

ROWS, REPEATS = 4000, 5
S8, OUT = Fixed(8, 4), Fixed(8, 5)


def rows_per_second(call, *arguments) -> float:
    """The best of several runs."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call(*arguments)
        times.append(time.perf_counter() - start)
    return ROWS / min(times)


def main() -> None:
    """Print one line an operator."""
    rng = np.random.default_rng(0)
    scores = rng.integers(-128, 128, (1, 1, ROWS, 197))
    values = rng.integers(-128, 128, (1, 1, 197, 64))
    tokens = rng.integers(-128, 128, (ROWS, 384))
    vectors = (1.0,) * 384, (0.0,) * 384
    cases = {
        "E2Softmax, two passes, 197": (E2SoftmaxSpec(S8, (1.0,)).reference, scores),
        "E2Softmax, slices of 32, 197": (E2SoftmaxSpec(S8, (1.0,), slice_length=32).reference, scores),
        "E2Context, 197 x 64": (E2ContextSpec(S8, (1.0,), v_format=S8, out_format=S8).reference, scores, values),
        "AILayerNorm, 384": (AILayerNormSpec(S8, OUT, *vectors, (0,) * 384).reference, tokens),
        "IntegerLayerNorm, 384": (IntegerLayerNormSpec(S8, OUT, *vectors).reference, tokens),
    }
    for name, (call, *arguments) in cases.items():
        print(f"{name:32s} {rows_per_second(call, *arguments):10.0f} rows/s")


if __name__ == "__main__":
    main()
