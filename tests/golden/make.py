# SPDX-License-Identifier: Apache-2.0
"""Writes the golden vectors: ``python -m tests.golden.make``.

They pin the references themselves: a change of their arithmetic shows here even if every stage follows it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hls4attn.host.operator_models import OPERATORS, is_norm
from hls4attn.models.files import write_arrays
from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.operators import E2ContextSpec, GainCellSpec

FOLDER = Path(__file__).parent
SEED = 20240630


def vectors(spec: Any) -> tuple[list[Codes], Codes]:
    """Operand codes (8 samples; the first holds the extremes, the last four a narrow band) and the result."""
    rng = np.random.default_rng(SEED)

    def draw(fmt: Fixed, *shape: int) -> Codes:
        codes = rng.integers(fmt.min, fmt.max, (8, *shape), endpoint=True)
        extremes = [fmt.min, -1, 0, 1, fmt.max] if fmt.signed else [fmt.min, 1, fmt.max, fmt.max]
        codes[0] = np.resize(extremes, codes[0].shape)
        codes[4:] >>= 3
        return codes

    if isinstance(spec, GainCellSpec):
        operands = [draw(fmt, spec.heads, 24, spec.head_dim) for fmt in spec.in_formats]
    elif is_norm(spec):
        operands = [draw(spec.in_format, 4, spec.channels)]
    else:
        operands = [draw(spec.in_format, spec.heads, 8, 8)]
        if isinstance(spec, E2ContextSpec):
            operands.append(draw(spec.v_format, spec.heads, 8, 4))
    return operands, spec.reference(*operands)


def main() -> None:
    """Write one file a case."""
    for name, cases in OPERATORS.items():
        for number, case in enumerate(cases):
            operands, expected = vectors(case.spec())
            arrays = {f"operand{k}": codes for k, codes in enumerate(operands)}
            write_arrays(FOLDER / name / f"case{number}.npz", {**arrays, "expected": expected})


if __name__ == "__main__":
    main()
