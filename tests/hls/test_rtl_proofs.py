# SPDX-License-Identifier: Apache-2.0
"""Stages of the streaming units, proved for all inputs against their formulas; and the proofs refute what is wrong."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import rtl_claims as claims
from rtl_cases import (
    AILAYERNORM,
    CELL,
    CONSMAX,
    LAYERNORM,
    ONLINE,
    SPLIT,
    SPLIT16,
    TWO_PASS,
    by_formula,
    division_of,
    quantiser_of,
    split_rounding,
    stats_unit,
)
from rtl_formulas import At, Claim, integer

from hls4attn.hls.rtl.proof import Module, counterexample
from hls4attn.hls.rtl.unit import Rom, RtlUnit, rtl_unit
from hls4attn.models.errors import SimulationError, SpecError
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import AILayerNormSpec, SoftmaxSpec
from hls4attn.models.operators.ailn_stages import square_table
from hls4attn.models.operators.e2stages import FOUR_WAY_DIVIDER

HEADS = ((23, 8), (37, 9), (255, 12))


def piece(module: str, roms: dict[str, Rom] | None = None, **parameters: int) -> RtlUnit:
    return RtlUnit(module, (f"{module}.sv",), parameters, roms or {})


def log2exp_of_heads() -> RtlUnit:
    words = [(places << 8) + factor for factor, places in HEADS]
    ints = {"FOLDED": 1, "FACTOR_W": 8, "PLACES_W": 4, "PER_HEAD": 1, "HEADS": 3, "HEAD_W": 2}
    return piece("op_log2exp", {"ROM_FILE": Rom(words, 12)}, IN_W=8, **ints)


#: Modules whole, from inputs to outputs: the unit, what it has to do, and a text that spoils it.
PIECES = {
    "limit to 11 of 16": (piece("op_limit", WIDTH=4, LEVELS=11), claims.limit(11), ("code > LAST", "code >= 3")),
    "limit to all": (piece("op_limit", WIDTH=3, LEVELS=8), claims.limit(8), ("level = code;", "level = code ^ 1;")),
    "multiple by 33": (
        piece("op_multiple", FACTOR=33, IN_W=8, OUT_W=15),
        claims.multiple(33),
        ("y + (wide <<< i)", "y | (wide <<< i)"),
    ),
    "multiple that wraps": (piece("op_multiple", FACTOR=7, IN_W=6, OUT_W=6), claims.multiple(7), ("& 1)", "& 2)")),
    "pick of 5": (
        piece("op_pick", COUNT=5, WIDTH=3, SELECT_W=3),
        claims.pick(5, 3),
        ("select[bit_of] ?", "select[0] ?"),
    ),
    "tree of 6": (
        piece("op_tree", COUNT=6, WIDTH=7, SIGNED=1),
        claims.tree(6, 7, 3),
        ("$signed(a) + $signed(b)", "$signed(a) - $signed(b)"),
    ),
    "tree of 3 naturals": (piece("op_tree", COUNT=3, WIDTH=5), claims.tree(3, 5, 2), ("<= a + b", "<= a | b")),
    "log2exp of 8 bits": (
        piece("op_log2exp", IN_W=8, PLACES=8),
        claims.log2exp([(23, 8)], 4),
        ("+ (d << 3) - d", "+ (d << 3)"),
    ),
    "log2exp of 12 bits": (
        piece("op_log2exp", IN_W=12, PLACES=12, CODE_W=5),
        claims.log2exp([(23, 12)], 5),
        ("{{(CODE_W - 1) {1'b0}}, shifted[0]}", "{CODE_W{1'b0}}"),
    ),
    "log2exp of heads": (
        log2exp_of_heads(),
        claims.log2exp(HEADS, 4),
        ("delayed <= word", "delayed <= 1 + word"),
    ),
    "quantiser": (stats_unit(), quantiser_of(), ("ZP << (QUANT_SHIFT + i))", "ZP << QUANT_SHIFT)")),
}


#: Those that take the solver longer than a few seconds.
LONG = (
    "log2exp of 12 bits",
    "log2exp of heads",
    "IntegerLayerNorm: root",
    "IntegerLayerNorm: ratio",
    "GainCell: pulses",
)


def marked(name: str) -> object:
    return pytest.param(name, marks=pytest.mark.slow) if name in LONG else name


@cache
def module(name: str, netlist: bool) -> Module:
    return Module.of(PIECES[name][0], netlist=netlist)


@pytest.mark.parametrize("name", [marked(name) for name in PIECES])
def test_pieces(name: str) -> None:
    unit, claim, (right, wrong) = PIECES[name]
    assert counterexample(module(name, False), claim) is None
    ((file, text),) = unit.sources().items()
    assert text.count(right) == 1, right
    assert counterexample(Module.of(unit, {file: text.replace(right, wrong)}), claim)


@pytest.mark.slow
@pytest.mark.parametrize("name", PIECES)
def test_netlists_of_pieces(name: str) -> None:
    unit, claim, (right, wrong) = PIECES[name]
    assert counterexample(module(name, True), claim, timeout_s=300) is None
    ((file, text),) = unit.sources().items()
    assert counterexample(Module.of(unit, {file: text.replace(right, wrong)}, netlist=True), claim)


def stats(squares: str) -> RtlUnit:
    """op_ailn_stats with another table of squares."""
    unit = stats_unit()
    wanted = rtl_unit(replace(AILAYERNORM, squares=squares))
    ints = dict(unit.parameters) | {"SQUARES": wanted.parameters["SQUARES"]}
    ints["POWER_W"] += 4 * (squares == "exact")
    return replace(unit, parameters=ints, roms={"SQUARE_ROM": wanted.roms["SQUARE_ROM"]})


def squares_claim(spec: AILayerNormSpec, squares: str) -> Claim:
    table = [n * n for n in range(256)] if squares == "exact" else square_table(squares)
    return claims.square(table, sorted(set(spec.alpha)))


FOUR_WAY = replace(TWO_PASS, divider=FOUR_WAY_DIVIDER, out_rounding="floor", max_length=1000)
SCORE = rtl_unit(CELL).parameters
#: The largest score: all currents and all pulses at an end.
LARGEST = SCORE["DIM"] * (SCORE["Q_LEVELS"] - 1) << SCORE["CURRENT_W"] - 1
SHORT = SoftmaxSpec(Fixed(6, 2), (0.3,), out_width=6, out_frac=6, exp_frac=6, guard=2, max_length=5)
ROOTS = replace(LAYERNORM, root_bits=8, rsqrt_bits=8)

#: Stages of units in whatever state they are: the unit, the claim, and (file, text, text in its place).
STAGES = {
    "ConSmax: tables": (
        rtl_unit(CONSMAX),
        claims.table_of_heads(by_formula(CONSMAX)),
        ("op_consmax.sv", "{s_tuser[USER_W-2:0], s_tdata}", "{s_tuser[USER_W-2:0], s_tdata ^ 1'b1}"),
    ),
    "ConSmaxSplit: product": (
        rtl_unit(SPLIT),
        claims.product_of_nibbles(2, 8),
        (
            "op_consmax_split.sv",
            "shifts[0 +: SUM_W] + shifts[SUM_W +: SUM_W];\n        end\n    end else",
            "'0; end end else",
        ),
    ),
    "ConSmaxSplit: rounding": (
        rtl_unit(SPLIT),
        split_rounding(SPLIT),
        ("op_consmax_split.sv", "rest <= '1", "rest <= '0"),
    ),
    "ConSmaxSplit, 16 bits: rounding": (
        rtl_unit(SPLIT16),
        split_rounding(SPLIT16),
        ("op_consmax_split.sv", "sum[SUM_W-2:0];", "sum[SUM_W-3:0];"),
    ),
    "E2Softmax: maximum": (
        rtl_unit(TWO_PASS),
        claims.maximum(),
        ("op_e2softmax.sv", "keep && score > top", "score > top"),
    ),
    "E2Softmax: leading one": (
        rtl_unit(FOUR_WAY),
        claims.leading_one(15, 2, 1000),
        ("op_e2softmax.sv", "i <= MAX_KS; i++", "i < MAX_KS; i++"),
    ),
    "E2Softmax: sum": (
        rtl_unit(TWO_PASS),
        claims.sum_of_powers(15),
        ("op_e2softmax.sv", "k_starts_row ? '0 : carried", "carried"),
    ),
    "E2Softmax online: sum": (
        rtl_unit(ONLINE),
        claims.sum_of_powers(15),
        ("op_e2softmax.sv", "k_keep, {SUM_FRAC", "1'b1, {SUM_FRAC"),
    ),
    "E2Softmax: division": (
        rtl_unit(TWO_PASS),
        division_of(TWO_PASS),
        ("op_e2softmax.sv", "{1'b0}}, y_ks}", "{1'b0}}, y_ks} + 1'b1"),
    ),
    "E2Softmax, four ways, floor: division": (
        rtl_unit(FOUR_WAY),
        division_of(FOUR_WAY),
        ("op_e2softmax.sv", "if (!index_keep) m_tdata", "if (index_keep) m_tdata"),
    ),
    "IntegerLayerNorm: variance": (
        rtl_unit(LAYERNORM),
        claims.variance_term(4),
        ("op_layernorm.sv", "(FACTOR_W'(total_2) <<< 1)", "FACTOR_W'(total_2)"),
    ),
    "IntegerLayerNorm: root": (
        rtl_unit(ROOTS),
        claims.root(8, 14),
        ("op_layernorm.sv", "!root_next[REST_W-1]};", "root_next[REST_W-1]};"),
    ),
    "IntegerLayerNorm: ratio": (
        rtl_unit(ROOTS),
        claims.ratio_of_root(8, 8),
        ("op_layernorm.sv", "ratio = quotient + {{(RATIO_W - 1){1'b0}}, !negative}", "ratio = quotient"),
    ),
    "IntegerSoftmax: ratio": (
        rtl_unit(SHORT),
        claims.ratio_of_sum(6, 8, 5),
        (
            "op_softmax.sv",
            "quotient <= {quotient[RATIO_W-2:0], !negative}",
            "quotient <= {quotient[RATIO_W-2:0], 1'b1}",
        ),
    ),
    "AILayerNorm: sum": (
        stats("paper"),
        claims.lifted_sum(AILAYERNORM.zero_point, sorted(set(AILAYERNORM.alpha))),
        ("op_ailn_stats.sv", "wide3 << i", "wide3 << 1"),
    ),
    **{
        f"AILayerNorm: squares, {name}": (
            stats(name),
            squares_claim(AILAYERNORM, name),
            ("op_ailn_stats.sv", "coarse = |m4[7:6]", "coarse = m4[7]")
            if name != "exact"
            else ("op_ailn_stats.sv", "index = {a4, m4}", "index = {a3, m4}"),
        )
        for name in ("paper", "lut32", "exact")
    },
    "GainCell: pulses": (
        rtl_unit(CELL),
        claims.inside(
            claims.pulses(SCORE["PULSE_MUL"], SCORE["PULSE_SHIFT"], SCORE["PULSE_STEPS"], LARGEST),
            "keys.",
        ),
        ("op_gaincell_score.sv", "rounded > TOP", "rounded >= HALF"),
    ),
}


@pytest.mark.parametrize("name", [marked(name) for name in STAGES])
def test_stages(name: str) -> None:
    unit, claim, (file, right, wrong) = STAGES[name]
    assert counterexample(Module.of(unit), claim) is None
    text = unit.sources()[file]
    assert text.count(right) == 1, f"{right!r} {text.count(right)} times"
    assert counterexample(Module.of(unit, {file: text.replace(right, wrong)}), claim)


def test_a_claim_about_a_wire_that_is_not_there() -> None:
    with pytest.raises(SpecError, match="no wire levels"):
        counterexample(module("limit to all", False), lambda at: at("levels", 0) == 0)


def test_time_is_limited() -> None:
    wide = piece("op_multiple", FACTOR=33, IN_W=32, OUT_W=63)

    def squares(at: At) -> object:
        x, y = (integer(at(name, 0), 128) for name in "xy")
        return y * y == x * x * (33 * 33)

    with pytest.raises(SimulationError, match="no result within 1 s"):
        counterexample(Module.of(wide), squares, timeout_s=1)  # type: ignore[arg-type]
