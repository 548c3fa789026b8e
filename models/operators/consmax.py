# SPDX-License-Identifier: Apache-2.0
r"""ConSmax: softmax without max and without sum.

Formula (per head h, element-wise)::

    p = exp(s - beta_h) / gamma_h = C_h * exp(s),   C_h = exp(-beta_h) / gamma_h

with the score ``s = score_scale_h * x`` of the dequantised input x (1/sqrt(head_dim) is folded into
`score_scale`).  On integer codes that is a table look-up; a masked entry gives 0 and nothing is renormalised.

Reference: ConSmax (ICCAD 2024, arXiv 2402.10930v3), equation 2 and section IV.  The paper's equation 3
prints ``C = -exp(beta)/gamma``; the sign belongs into the exponent, as in equation 2 and used here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import ArrayLike

from hls4attn.models.errors import SpecError
from hls4attn.models.formats import Codes, Fixed, Reals
from hls4attn.models.operators.base import (
    NO_MASK_DIAGONAL,
    Attributes,
    causal_mask,
    check_same_attributes,
    check_scores,
    per_head,
    register_score,
    take_attributes,
)
from hls4attn.models.operators.split_exp import SplitTables, split_tables

_PARAMETERS = ("in_format", "out_width", "causal", "beta", "gamma", "score_scale", "out_frac")


@register_score
@dataclass(frozen=True)
class ConSmaxSpec:
    """ConSmax by one direct table a head.

    Args:
        in_format: format of the score codes, signed; 2 to 12 bits (the table has ``2**width`` entries).
        beta: learnt offset, one a head.
        gamma: learnt divisor, one a head; positive.
        score_scale: factor from the real value of a code to the score, one a head: ``1/sqrt(head_dim)``
            times any scale that is no power of two.
        out_frac: exponent of the output, one a head: code = probability * 2**out_frac.
        out_width: bits of an unsigned output code; larger results saturate, they never wrap.
        causal: zero the entries with column > row.

    Raises:
        SpecError: for parameters that no table can hold.
    """

    op_type: ClassVar[str] = "ConSmax"

    in_format: Fixed
    beta: tuple[float, ...]
    gamma: tuple[float, ...]
    score_scale: tuple[float, ...]
    out_frac: tuple[int, ...] = field(default=(8,))
    out_width: int = 8
    causal: bool = False

    def __post_init__(self) -> None:
        heads = np.size(self.beta)
        for name in ("beta", "gamma", "score_scale", "out_frac"):
            object.__setattr__(self, name, per_head(name, getattr(self, name), heads, self.op_type))
        fracs = tuple(int(f) for f in self.out_frac)
        if fracs != self.out_frac or not all(-16 <= f <= 30 for f in fracs):
            raise SpecError(f"{self.op_type}: out_frac must be integers from -16 to 30. Received: {self.out_frac}")
        object.__setattr__(self, "out_frac", fracs)
        if min(self.gamma) <= 0 or min(self.score_scale) <= 0:
            raise SpecError(
                f"{self.op_type}: gamma and score_scale must be positive (the output is unsigned). "
                f"Received: gamma={self.gamma}, score_scale={self.score_scale}"
            )
        if not 2 <= self.out_width <= 16:
            raise SpecError(f"{self.op_type}: out_width must be 2 to 16. Received: {self.out_width}")
        self._check_in_format()

    def _check_in_format(self) -> None:
        if not self.in_format.signed or not 2 <= self.in_format.width <= 12:
            raise SpecError(
                f"{self.op_type}: a direct table takes signed scores of 2 to 12 bits; for 16 bits use the split "
                f"form (ConSmaxSplit, in Keras method='split'). Received: {self.in_format}"
            )

    @property
    def heads(self) -> int:
        """Number of attention heads."""
        return len(self.beta)

    @property
    def out_format(self) -> Fixed:
        """The grid that all heads share: codes of a head with a smaller exponent are shifted up onto it."""
        spread = max(self.out_frac) - min(self.out_frac)
        return Fixed(self.out_width + spread, max(self.out_frac), signed=False)

    @property
    def output_steps(self) -> tuple[float, ...]:
        """Real value of one output step, one a head."""
        return tuple(2.0**-f for f in self.out_frac)

    @property
    def head_shift(self) -> tuple[int, ...]:
        """Left shift from a head's own codes to `out_format`."""
        return tuple(max(self.out_frac) - f for f in self.out_frac)

    @cached_property
    def table(self) -> Codes:
        """Output codes, shape ``(heads, 2**in_width)``, entry i for the score code ``i + in_format.min``."""
        x = self.in_format.to_real(np.arange(self.in_format.min, self.in_format.max + 1))
        return self.quantise_heads(self.real(x[None, None, :] * np.ones((self.heads, 1, 1))))[:, 0, :]

    def quantise_heads(self, p: ArrayLike) -> Codes:
        """Probabilities of shape ``(..., heads, rows, cols)`` to each head's own codes (no common grid)."""
        return np.minimum(self._rounded(p), (1 << self.out_width) - 1).astype(np.int64)

    def _rounded(self, p: ArrayLike) -> Reals:
        f = np.array(self.out_frac)[:, None, None]
        return np.rint(np.ldexp(np.asarray(p, dtype=np.float64), f))

    def _own_codes(self, codes: Codes) -> Codes:
        """Each head's own codes, before the common grid and the mask."""
        first = np.arange(self.heads) * self.table.shape[1] - self.in_format.min
        return self.table.ravel()[codes + first[:, None, None]]

    def reference(self, codes: ArrayLike) -> Codes:
        """Probability codes in `out_format` for score codes of shape ``(..., heads, rows, cols)``."""
        x = check_scores(codes, self)
        p = self._own_codes(x)
        if any(self.head_shift):
            p = p << np.array(self.head_shift)[:, None, None]
        return p * causal_mask(*p.shape[-2:]) if self.causal else p

    def real(self, scores: ArrayLike) -> Reals:
        """``exp(score_scale * x - beta) / gamma`` of real inputs x, unmasked."""
        column = (self.heads, 1, 1)
        beta, gamma, scale = (np.reshape(v, column) for v in (self.beta, self.gamma, self.score_scale))
        return cast(Reals, np.exp(scale * np.asarray(scores, dtype=np.float64) - beta) / gamma)

    def saturations(self, codes: ArrayLike) -> int:
        """Number of (unmasked) elements whose exact result exceeds the largest output code."""
        x = check_scores(codes, self)
        over = self._rounded(self.real(self.in_format.to_real(x))) > (1 << self.out_width) - 1
        return int(np.count_nonzero(over & causal_mask(*x.shape[-2:]) if self.causal else over))

    def parameters(self) -> Attributes:
        """The defining parameters, without the tables that follow from them."""
        return {
            "in_format": str(self.in_format),
            "out_width": self.out_width,
            "causal": int(self.causal),
            "beta": np.array(self.beta),
            "gamma": np.array(self.gamma),
            "score_scale": np.array(self.score_scale),
            "out_frac": np.array(self.out_frac, dtype=np.int64),
        }

    def to_attributes(self) -> Attributes:
        """Parameters and the constants of the ONNX function body."""
        first = np.arange(self.heads) * self.table.shape[1] - self.in_format.min
        shifted = self.table << np.array(self.head_shift)[:, None]
        return self.parameters() | {
            "code_scale": np.array(2.0**self.in_format.frac, dtype=np.float32),
            "first_entry": first.reshape(-1, 1, 1),
            "table": self.out_format.to_real(shifted.ravel()).astype(np.float32),
            "diagonal": np.array(0 if self.causal else NO_MASK_DIAGONAL, dtype=np.int64),
        }

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> ConSmaxSpec:
        """The spec that `to_attributes` described; tables are recomputed and must agree."""
        spec = cls(**_from_parameters(cls.op_type, attributes))
        check_same_attributes(cls.op_type, attributes, spec.to_attributes())
        return spec


def _from_parameters(op_type: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
    a = take_attributes(op_type, attributes, _PARAMETERS)
    return {
        "in_format": Fixed.parse(a["in_format"]),
        "out_width": int(a["out_width"]),
        "causal": bool(a["causal"]),
        "beta": tuple(np.atleast_1d(a["beta"])),
        "gamma": tuple(np.atleast_1d(a["gamma"])),
        "score_scale": tuple(np.atleast_1d(a["score_scale"])),
        "out_frac": tuple(np.atleast_1d(a["out_frac"])),
    }


@register_score
@dataclass(frozen=True)
class ConSmaxSplitSpec(ConSmaxSpec):
    """ConSmax by the paper's bitwidth-split tables: 16 entries for each nibble of the score, and a multiply.

    ``exp(s)`` of an 8-bit code ``16 h + l`` is ``T1[h] * T0[l]``; a 16-bit code takes four tables (two 8-bit
    units whose products are multiplied).  Entries are short floating-point numbers ``mantissa * 2**exponent``;
    products of mantissas are kept whole, C is folded into the top table, and one rounding (half up) ends it.

    Args:
        mantissa_bits: bits of a table mantissa, the leading one included (8 as in BF16, 11 as in FP16).
    """

    op_type: ClassVar[str] = "ConSmaxSplit"

    mantissa_bits: int = 8

    def _check_in_format(self) -> None:
        if not self.in_format.signed or self.in_format.width not in (8, 16):
            raise SpecError(f"{self.op_type}: takes signed scores of 8 or 16 bits. Received: {self.in_format}")
        nibbles = self.in_format.width // 4
        if nibbles * self.mantissa_bits > 60 or nibbles * (self.mantissa_bits - 1) - 1 < self.out_width:
            raise SpecError(
                f"{self.op_type}: mantissa_bits={self.mantissa_bits} is out of range for {self.in_format.width}-bit "
                f"scores and {self.out_width}-bit outputs (use 8 to {60 // nibbles})"
            )

    @cached_property
    def tables(self) -> SplitTables:
        """The nibble tables of all heads."""
        return split_tables(
            self.in_format.width,
            np.array(self.score_scale) * self.in_format.step,
            np.exp(-np.array(self.beta)) / np.array(self.gamma),
            np.array(self.out_frac),
            self.mantissa_bits,
        )

    @cached_property
    def table(self) -> Codes:
        """The table that the multiplier unrolls to, for comparison with the direct one."""
        codes = np.arange(self.in_format.min, self.in_format.max + 1)
        return self._own_codes(np.broadcast_to(codes, (self.heads, 1, codes.size)))[:, 0, :]

    def _own_codes(self, codes: Codes) -> Codes:
        return self.tables.evaluate(codes, (1 << self.out_width) - 1)

    def parameters(self) -> Attributes:
        """The defining parameters, without the tables that follow from them."""
        return super().parameters() | {"mantissa_bits": self.mantissa_bits}

    def to_attributes(self) -> Attributes:
        """Parameters and the constants of the ONNX function body."""
        t = self.tables
        return self.parameters() | {
            "code_scale": np.array(2.0**self.in_format.frac, dtype=np.float32),
            "code_offset": np.array(-self.in_format.min, dtype=np.int64),
            "nibble_weight": np.int64(1) << np.arange(0, 4 * t.nibbles, 4, dtype=np.int64),
            "first_entry": t.first_entry(),
            "mantissa": t.mantissa.ravel(),
            "shift": t.shift.ravel(),
            "max_shift": np.array(t.max_shift, dtype=np.int64),
            "powers": t.powers(),
            "max_code": np.array((1 << self.out_width) - 1, dtype=np.int64),
            "out_step": np.ldexp(1.0, -np.array(self.out_frac)).astype(np.float32).reshape(-1, 1, 1),
            "diagonal": np.array(0 if self.causal else NO_MASK_DIAGONAL, dtype=np.int64),
        }

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> ConSmaxSplitSpec:
        """The spec that `to_attributes` described; tables are recomputed and must agree."""
        m = take_attributes(cls.op_type, attributes, ("mantissa_bits",))
        spec = cls(**_from_parameters(cls.op_type, attributes), mantissa_bits=int(m["mantissa_bits"]))
        check_same_attributes(cls.op_type, attributes, spec.to_attributes())
        return spec
