# SPDX-License-Identifier: Apache-2.0
"""Streaming unit of gain-cell heads: tokens in, a lane of one head a clock; the window stays from token to token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hls4attn.hls.gaincell import current_rows, structure
from hls4attn.hls.rtl.unit import Rom, RtlUnit, head_bits
from hls4attn.hls.tail import signed_bits
from hls4attn.models.errors import UnsupportedError
from hls4attn.models.formats import Codes
from hls4attn.models.operators import GainCellSpec

#: What the unit is made for; more is only slower to simulate and larger.
MAX_DIM, MAX_WINDOW, MAX_LEVELS = 256, 4096, 32
_FILES = (
    "op_gaincell.sv",
    "op_gaincell_context.sv",
    "op_gaincell_cursor.sv",
    "op_gaincell_fifo.sv",
    "op_gaincell_score.sv",
    "op_delay.sv",
    "op_limit.sv",
    "op_pick.sv",
    "op_tree.sv",
)


@dataclass(frozen=True, eq=False)
class RomRows(Rom):
    """A table with a word for each row of entries, the first entry in the lowest bits.

    Args:
        words: entries, shape ``(rows, entries)``.
        width: bits of an entry.
    """

    def __post_init__(self) -> None:
        rows = np.asarray(self.words)
        super().__post_init__()  # makes them flat
        object.__setattr__(self, "words", self.words.reshape(rows.shape))

    def text(self) -> str:
        """The file: a hexadecimal word a line."""
        mask, digits = (1 << self.width) - 1, -(-self.width * self.words.shape[1] // 4)
        rows = (sum((int(w) & mask) << self.width * c for c, w in enumerate(row)) for row in self.words)
        return "".join(f"{word:0{digits}x}\n" for word in rows)


def unit(spec: GainCellSpec, row_max: int = 0, lane_dsp: bool = False) -> RtlUnit:
    """The unit.  A row is a token: the words of all heads, see `token_words`.

    ``s_tuser.keep`` with a token's first word says whether the stored tokens are kept; 0 begins a sequence.

    Args:
        spec: the heads.
        row_max: not used; a token has the words that it has.
        lane_dsp: a multiplier for each lane of the values, which saves LUTs, instead of one for each of their levels.

    Raises:
        UnsupportedError: for what the unit does not do.
    """
    del row_max
    _check(spec)
    rows = current_rows(spec)
    current_width = signed_bits(rows)
    ints = structure(spec, current_width, spec.op_type)
    widths = _widths(ints, current_width)
    if max(ints["pulse_multiplier"], ints["code_multiplier"], widths["CHARGE_LIMIT"]) >= 1 << 31:
        raise UnsupportedError(f"{spec.op_type}: constants of the unit have at most 31 bits; use less current_frac")
    in_width = sum(_code_bits(n) for n in (spec.q_levels, spec.k_levels, spec.v_levels))
    parameters = {
        "IN_W": in_width,
        "OUT_W": spec.out_format.width,
        "USER_W": 1 + head_bits(1),
        "HEADS": spec.heads,
        "DIM": spec.head_dim,
        "WINDOW": spec.window,
        "TILE": spec.tile,
        "SPLIT": ints["split_tiles"],
        "Q_LEVELS": spec.q_levels,
        "K_LEVELS": spec.k_levels,
        "V_LEVELS": spec.v_levels,
        "LANE_DSP": int(lane_dsp),
        "SHARED": int(spec.k_levels == spec.v_levels),
        "CURRENT_W": current_width,
        "PULSE_MUL": ints["pulse_multiplier"],
        "PULSE_SHIFT": ints["pulse_shift"],
        "PULSE_STEPS": spec.pulse_steps,
        "CODE_MUL": ints["code_multiplier"],
        "CODE_SHIFT": ints["code_shift"],
        "CODE_LIMIT": spec.code_limit,
    } | widths
    return RtlUnit(
        "op_gaincell",
        _FILES,
        parameters,
        {"CURRENTS": RomRows(rows, current_width)},
        in_width=in_width,
        out_width=spec.out_format.width,
        user_width=1 + head_bits(1),
        in_signed=False,
        out_signed=True,
        heads=1,
        row_max=spec.heads * spec.head_dim,
    )


def _check(spec: GainCellSpec) -> None:
    name = spec.op_type
    if not spec.nonideal.ideal:
        raise UnsupportedError(f"{name} with noise or spread has no hardware; set nonideal=IDEAL")
    if spec.head_dim > MAX_DIM or spec.window > MAX_WINDOW:
        raise UnsupportedError(
            f"{name}: the unit takes head_dim to {MAX_DIM} and window to {MAX_WINDOW}. "
            f"Received: {spec.head_dim} and {spec.window}"
        )
    if max(spec.q_levels, spec.k_levels, spec.v_levels) > MAX_LEVELS:
        raise UnsupportedError(
            f"{name}: the unit takes {MAX_LEVELS} levels at most. "
            f"Received: {spec.q_levels}, {spec.k_levels}, {spec.v_levels}"
        )


def _code_bits(levels: int) -> int:
    return (levels - 1).bit_length()


def _widths(ints: Mapping[str, int], current_width: int) -> dict[str, int]:
    """Signed bits of each result, from its largest magnitude; the bounds of attn_gaincell_state.h."""
    current = 1 << (current_width - 1)
    score = (ints["q_levels"] - 1) * current * ints["head_dim"]
    scaled = score * ints["pulse_multiplier"] + (1 << ints["pulse_shift"] >> 1)
    product = ints["pulse_steps"] * current
    charge = ints["tile"] * product
    held = min(charge, ints["charge_limit"])
    parts = 3 * score  # of some of the unit's products, which have differences of currents
    rounded = held * ints["code_multiplier"] + (1 << ints["code_shift"] >> 1)
    return {
        "SCORE_W": 1 + parts.bit_length(),
        "SCALED_W": 1 + max(scaled, parts, ints["pulse_steps"]).bit_length(),
        "PRODUCT_W": 1 + product.bit_length(),
        "CHARGE_W": 1 + charge.bit_length(),
        "HELD_W": 1 + held.bit_length(),
        "CHARGE_LIMIT": held,
        "ROUNDED_W": 1 + rounded.bit_length(),
    }


def token_words(spec: GainCellSpec, q: ArrayLike, k: ArrayLike, v: ArrayLike) -> Codes:
    """Rows for the unit, ``(tokens, heads * head_dim)``, from codes of shape ``(tokens, heads, head_dim)``.

    A word is ``{v, k, q}`` of one lane, each as wide as its number of levels needs.
    """
    low, middle = _code_bits(spec.q_levels), _code_bits(spec.k_levels)
    a, b, c = (np.asarray(codes, dtype=np.int64) for codes in (q, k, v))
    return (a | b << low | c << low + middle).reshape(len(a), -1)


def token_clocks(spec: GainCellSpec, filled: int) -> int:
    """Clocks between two tokens that wait for each other, with a number of slots filled, this token's included."""
    tiles = -(-filled // spec.tile) + int(spec.tiling == "absolute" and filled == spec.window)
    return spec.heads * (1 + max(spec.tile, spec.head_dim) * tiles)
