# SPDX-License-Identifier: Apache-2.0
"""A small unit of each operator: rows with their reference, a mistake in its Verilog, and the claim that it breaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal, localcontext
from functools import cache

import numpy as np
import rtl_claims as claims
from gain_models import random_codes
from gain_models import reference as gain_reference
from hls_sole import ailayernorm, row_codes
from rtl_checks import Kept, Rows
from rtl_formulas import Claim

from hls4attn.hls.rtl.ailayernorm import unit as ailn_unit
from hls4attn.hls.rtl.gaincell import token_words
from hls4attn.hls.rtl.unit import RtlUnit, rtl_unit
from hls4attn.models.export.graph import Tensor
from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.operators import (
    ConSmaxSpec,
    ConSmaxSplitSpec,
    E2SoftmaxSpec,
    GainCellSpec,
    IntegerLayerNormSpec,
    SoftmaxSpec,
)

CONSMAX = ConSmaxSpec(Fixed(6, 3), (0.5, 1.5, 2.5), (20.0, 100.0, 1.0), (0.7, 1.0, 0.2), (4, 9, 6), out_width=7)
SPLIT = ConSmaxSplitSpec(Fixed(8, 2), (0.0,), (1.0,), (1.0,), (4,))
SPLIT16 = ConSmaxSplitSpec(Fixed(16, 11), (1.5,), (100.0,), (0.5,), (12,))
TWO_PASS = E2SoftmaxSpec(Fixed(8, 4), (1.0,), max_length=12)
ONLINE = replace(TWO_PASS, slice_length=4)
SOFTMAX = SoftmaxSpec(Fixed(6, 2), (0.3,), max_length=8)
LAYERNORM = IntegerLayerNormSpec(Fixed(6, 3), Fixed(6, 4), (1.0, 1.5, -0.7, 0.4), (0.5, -0.3, 0.0, 1.0), root_bits=10)
AILAYERNORM = ailayernorm(6, 3, squares="paper")
CELL = GainCellSpec(2, 3, 6, 3, leak=0.05, score_saturation=12.0, context_saturation=8.0)


@dataclass(frozen=True, eq=False)
class Case:
    """A unit, rows for it, and a mistake.

    Attributes:
        unit: the unit.
        rows: codes.
        expected: by the operator's reference.
        file: source in which the mistake is made.
        right: text there.
        wrong: text in its place.
        claim: what the stage has to do.
        heads: head of each row.
        keep: what is not masked.
    """

    unit: RtlUnit
    rows: Rows
    expected: Codes
    file: str
    right: str
    wrong: str
    claim: Claim
    heads: Rows | None = None
    keep: Kept | None = None

    def mutant(self) -> RtlUnit:
        """The unit with the mistake."""
        texts = self.unit.sources()
        assert texts[self.file].count(self.right) == 1, f"{self.file}: {self.right!r}"
        return replace(self.unit, files=(), texts=texts | {self.file: texts[self.file].replace(self.right, self.wrong)})


def by_formula(spec: ConSmaxSpec) -> list[list[int]]:
    """Tables of ConSmax on the common grid, in the order of the codes' bits, in decimal arithmetic of 40 digits."""
    n, tables = 1 << spec.in_format.width, []
    with localcontext() as context:
        context.prec = 40
        for head in range(spec.heads):
            beta, gamma, scale = (Decimal(v[head]) for v in (spec.beta, spec.gamma, spec.score_scale))
            step = scale / Decimal(2) ** spec.in_format.frac
            exact = [(step * (c - n if c >= n // 2 else c) - beta).exp() / gamma for c in range(n)]
            codes = [int((p * Decimal(2) ** spec.out_frac[head]).to_integral_value()) for p in exact]
            grid = max(spec.out_frac) - spec.out_frac[head]
            tables.append([min(code, (1 << spec.out_width) - 1) << grid for code in codes])
    return tables


def split_rounding(spec: ConSmaxSplitSpec) -> Claim:
    """The last stage of a split ConSmax of one head."""
    t = spec.tables
    base = t.nibbles * t.bits - (t.nibbles + spec.out_width) + 1
    return claims.rounded_product(t.nibbles, t.bits, spec.out_width, base, "keep", t.nibbles // 2 + 1)


def division_of(spec: E2SoftmaxSpec) -> Claim:
    """The divider of an E2Softmax."""
    up, most = spec.out_rounding == "half_up", max(1, spec.max_sum_exponent)
    return claims.division(spec.divider, spec.divider_frac, spec.out_frac, spec.out_format.max, up, most)


def _scores(spec: ConSmaxSpec | E2SoftmaxSpec | SoftmaxSpec, n: int, seed: int) -> tuple[Rows, Kept]:
    rng = np.random.default_rng(seed)
    rows = rng.integers(spec.in_format.min, spec.in_format.max + 1, (40, n))
    rows[::2] = np.clip(rows[::2] // 8, spec.in_format.min, spec.in_format.max)
    keep = rng.random(rows.shape) < 0.8
    keep[:, 0] = True
    return rows, keep


def _masked(spec: E2SoftmaxSpec, n: int) -> tuple[Rows, Codes, Kept]:
    rows, keep = _scores(spec, n, 3)
    return rows, spec.reference(rows[None], keep[None])[0], keep


def _consmax(spec: ConSmaxSpec, file: str, right: str, wrong: str, claim: Claim) -> Case:
    every = np.arange(spec.in_format.min, spec.in_format.max + 1).reshape(-1, 32)
    rows, heads = np.tile(every, (spec.heads, 1)), np.repeat(np.arange(spec.heads), len(every))
    keep = np.random.default_rng(1).random(rows.shape) < 0.8
    want = spec.reference(np.broadcast_to(every[:, None, None], (len(every), spec.heads, 1, 32)))
    want = want[:, :, 0].transpose(1, 0, 2).reshape(rows.shape) * keep
    return Case(rtl_unit(spec), rows, want, file, right, wrong, claim, heads, keep)


def _softmax() -> Case:
    rows, keep = _scores(SOFTMAX, 8, 4)
    want = np.zeros_like(rows)
    for row, kept, result in zip(rows, keep, want, strict=True):
        result[kept] = SOFTMAX.reference(row[None, None, kept])[0, 0]
    down, top = SOFTMAX.exp_frac + SOFTMAX.guard, (1 << SOFTMAX.out_width) - 1
    claim = claims.probability(down, top)
    return Case(rtl_unit(SOFTMAX), rows, want, "op_softmax.sv", "product_5 + HALF_STEP", "product_5", claim, None, keep)


def _layernorm() -> Case:
    rows = np.random.default_rng(5).integers(-32, 32, (60, 4))
    claim = claims.limited(LAYERNORM.bias_frac, LAYERNORM.out_format.min, LAYERNORM.out_format.max)
    case = ("op_layernorm.sv", "fits ? whole", "1'b1 ? whole", claim)
    return Case(rtl_unit(LAYERNORM), rows, LAYERNORM.reference(rows), *case)


def quantiser_of() -> Claim:
    """The input quantiser of the AILayerNorm."""
    spec = AILAYERNORM
    return claims.quantiser(spec.multiplier, spec.shift, spec.zero_point, sorted(set(spec.alpha)), True)


def stats_unit() -> RtlUnit:
    """op_ailn_stats alone, as the AILayerNorm has it."""
    unit, spec = ailn_unit(AILAYERNORM, 1024), AILAYERNORM
    alpha = max(spec.alpha)
    names = ("IN_W", "IN_SIGNED", "ZERO_POINT", "MULTIPLIER", "QUANT_SHIFT", "MAX_ALPHA", "SQUARES")
    ints = {name: unit.parameters[name] for name in names}
    rows = (spec.channels).bit_length()
    ints |= {
        "ALPHA_W": 2 if alpha > 1 else 1,
        "SUM_W": 9 + ints["MAX_ALPHA"] + rows,
        "POWER_W": 12 + 2 * ints["MAX_ALPHA"] + rows,
    }
    return RtlUnit("op_ailn_stats", ("op_ailn_stats.sv",), ints, {"SQUARE_ROM": unit.roms["SQUARE_ROM"]})


def _ailayernorm() -> Case:
    spec = AILAYERNORM
    rows = row_codes(Tensor("", (1, spec.channels), spec.in_format), seed=5, samples=80)[:, 0]
    claim = claims.inside(quantiser_of(), "stats.", {"alpha": "word_in"}, 2 if max(spec.alpha) > 1 else 1)
    right = "if (shifted[W-1]) q3 <= 8'h00;"
    return Case(rtl_unit(spec), rows, spec.reference(rows), "op_ailn_stats.sv", right, "", claim)


def _gain_cell() -> Case:
    codes = random_codes(CELL, 30, 7)
    want = gain_reference(CELL, *codes).reshape(30, -1)
    unit = rtl_unit(CELL)
    ints = unit.parameters
    claim = claims.inside(
        claims.code_of_charge(ints["CODE_MUL"], ints["CODE_SHIFT"], ints["CODE_LIMIT"], ints["CHARGE_LIMIT"]),
        "values.",
    )
    right, wrong = "(scaled + HALF) >>> CODE_SHIFT", "scaled >>> CODE_SHIFT"
    return Case(unit, token_words(CELL, *codes), want, "op_gaincell_context.sv", right, wrong, claim)


def _e2softmax() -> Case:
    right, wrong = "{leading[i +: MUX_BITS], i[KS_W-1:0]}", "{leading[0 +: MUX_BITS], i[KS_W-1:0]}"
    claim = claims.leading_one(TWO_PASS.sum_frac, TWO_PASS.mux_bits, TWO_PASS.max_length)
    rows, want, keep = _masked(TWO_PASS, 12)
    return Case(rtl_unit(TWO_PASS), rows, want, "op_e2softmax.sv", right, wrong, claim, None, keep)


def _online() -> Case:
    right, wrong = "both[CODE_W] ? {CODE_W{1'b1}} : both", "1'b0 ? {CODE_W{1'b1}} : both"
    rows, want, keep = _masked(ONLINE, 12)
    claim = claims.corrected(ONLINE.code_width)
    return Case(rtl_unit(ONLINE), rows, want, "op_e2softmax.sv", right, wrong, claim, None, keep)


def _split() -> Case:
    right = "{{(REST_W-1){1'b0}}, rest[0]}"
    return _consmax(SPLIT, "op_consmax_split.sv", right, "{REST_W{1'b0}}", split_rounding(SPLIT))


def _direct() -> Case:
    right, wrong = "if (!keep) p <= '0;", "if (1'b0) p <= '0;"
    return _consmax(CONSMAX, "op_consmax.sv", right, wrong, claims.table_of_heads(by_formula(CONSMAX)))


_CASES: dict[str, Callable[[], Case]] = {
    "ConSmax": _direct,
    "ConSmaxSplit": _split,
    "E2Softmax": _e2softmax,
    "E2Softmax online": _online,
    "IntegerSoftmax": _softmax,
    "IntegerLayerNorm": _layernorm,
    "AILayerNorm": _ailayernorm,
    "GainCell": _gain_cell,
}
OPERATORS = tuple(_CASES)


@cache
def case_of(operator: str) -> Case:
    """The case of an operator."""
    return _CASES[operator]()
