# SPDX-License-Identifier: Apache-2.0
"""Writes the golden vectors: ``python -m tests.golden.make``.

They pin the references themselves: a change of their arithmetic shows here even if every stage follows it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hls4attn.host.operator_models import OPERATORS
from hls4attn.models.files import write_arrays
from hls4attn.models.formats import Codes
from hls4attn.models.operators import ScoreSpec

FOLDER = Path(__file__).parent
SEED = 20240630


def vectors(spec: ScoreSpec) -> tuple[Codes, Codes]:
    """Score codes (8 samples of 8 rows of 8, each head; the first holds the extremes) and their probabilities."""
    fmt = spec.in_format
    codes = np.random.default_rng(SEED).integers(fmt.min, fmt.max, (8, spec.heads, 8, 8), endpoint=True)
    codes[0] = np.resize([fmt.min, -1, 0, 1, fmt.max], codes[0].shape)
    codes[4:] >>= 3
    return codes, spec.reference(codes)


def main() -> None:
    """Write one file a case."""
    for name, cases in OPERATORS.items():
        for number, case in enumerate(cases):
            codes, expected = vectors(case.spec())
            write_arrays(FOLDER / name / f"case{number}.npz", {"codes": codes, "expected": expected})


if __name__ == "__main__":
    main()
