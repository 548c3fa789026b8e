# SPDX-License-Identifier: Apache-2.0
"""How far an operator's integers are from its float function: reported, never hidden."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hls4attn.models.operators.base import ScoreSpec, causal_mask
from hls4attn.models.operators.gain_float import code_sums
from hls4attn.models.operators.gaincell import GainCellSpec
from hls4attn.models.operators.norm_base import NormSpec


@dataclass(frozen=True)
class Distance:
    """Distance of the reference to the float function, over given codes.

    Attributes:
        elements: results looked at.
        saturated: of them limited to the output range; left out of the errors below.
        max_steps: largest error, in output steps (half a step is the best possible).
        mean_steps: mean absolute error, in output steps.
        gain: integer over float, of the sums of all compared results (1 means no bias of the row sums) or of their
            standard deviations.
        gain_of: which of the two.
    """

    elements: int
    saturated: int
    max_steps: float
    mean_steps: float
    gain: float
    gain_of: str = "row-sum"

    def __str__(self) -> str:
        return (
            f"max {self.max_steps:.2f}, mean {self.mean_steps:.3f} output steps; {self.gain_of} gain {self.gain:.4f}; "
            f"{self.saturated} of {self.elements} results saturate"
        )


def distance(spec: ScoreSpec, codes: ArrayLike) -> Distance:
    """Compare ``reference`` with ``real`` on score codes of shape ``(..., heads, rows, cols)``.

    Results beyond the largest output code are counted instead of compared: there the integers are limited on
    purpose.  Masked entries are 0 in both and left out.
    """
    a = np.asarray(codes)
    exact = spec.real(spec.in_format.to_real(a))
    got = spec.out_format.to_real(spec.reference(a))
    step = np.reshape(spec.output_steps, (-1, 1, 1)) * np.ones_like(exact)
    limit = ((1 << spec.out_width) - 0.5) * step
    counted = exact < limit
    elements = a.size
    if spec.causal:
        keep = causal_mask(a.shape[-2], a.shape[-1])
        counted &= keep
        elements = a.size // keep.size * int(keep.sum())
    error = np.abs(got - exact)[counted] / step[counted]
    total = float(exact[counted].sum())
    return Distance(
        elements=elements,
        saturated=spec.saturations(a),
        max_steps=float(error.max(initial=0.0)),
        mean_steps=float(error.mean()) if error.size else 0.0,
        gain=float(got[counted].sum()) / total if total else 1.0,
    )


def norm_distance(spec: NormSpec, codes: ArrayLike) -> Distance:
    """Compare ``reference`` with ``real`` on input codes of shape ``(..., channels)``; constant rows are left out."""
    a = np.asarray(codes).reshape(-1, spec.channels)
    a = a[np.ptp(a, axis=-1) > 0]
    exact = spec.real(spec.in_format.to_real(a))
    got = spec.out_format.to_real(spec.reference(a))
    low, high = spec.out_format.to_real([spec.out_format.min, spec.out_format.max])
    counted = (exact > low) & (exact < high)
    error = np.abs(got - exact)[counted] / spec.out_format.step
    return Distance(
        elements=a.size,
        saturated=spec.saturations(a),
        max_steps=float(error.max(initial=0.0)),
        mean_steps=float(error.mean()) if error.size else 0.0,
        gain=float(got[counted].std() / exact[counted].std()) if error.size else 1.0,
        gain_of="deviation",
    )


def gain_distance(spec: GainCellSpec, q: ArrayLike, k: ArrayLike, v: ArrayLike) -> Distance:
    """Compare ``reference`` with the float model on the same codes of shape ``(..., heads, tokens, head_dim)``.

    Both give sums of tile codes; tiles that saturate do so in both and are compared like the others.
    """
    exact = code_sums(spec, q, k, v)
    got = spec.reference(q, k, v)
    error = np.abs(got - exact)
    spread = float(exact.std())
    return Distance(
        elements=got.size,
        saturated=spec.saturations(q, k, v),
        max_steps=float(error.max(initial=0.0)),
        mean_steps=float(error.mean()) if error.size else 0.0,
        gain=float(got.std()) / spread if spread else 1.0,
        gain_of="deviation",
    )
