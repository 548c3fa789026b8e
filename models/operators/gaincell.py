# SPDX-License-Identifier: Apache-2.0
r"""Gain-cell attention: a head in two analog arrays, emulated digit by digit.

Formula, per head, with age the number of tokens since a slot was written and ``g = exp(-leak * age)``::

    Q     = quant(clip(a_q q + b_q, 0, 1))               the length of a pulse
    K, V  = quant(clip(a x + b, 0, vdd))                 a stored voltage; w = V - vdd / 2
    S_j   = sum_d Q_d I(w(K_jd) g_j)                     first array
    phi_j = clip(S_j / score_saturation, 0, 1)           instead of softmax; 0 for empty slots
    A_td  = sum_{j in tile t} phi_j I(w(V_jd) g_j)       second array
    y_d   = a_o sum_t quant(clip(A_td / context_saturation, -1, 1)) + b_o

On integer codes I is a table of age and stored level, and phi a number of pulse steps; `reference` is that model.

Reference: Leroux et al., Nat. Comput. Sci. 5, 813 (2025), arXiv 2409.19315, and the authors' code.  The integer
formats are this package's.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from hls4attn.models.errors import SpecError
from hls4attn.models.formats import Codes, Fixed, Reals, covering
from hls4attn.models.operators import gain_float, gain_integer
from hls4attn.models.operators.attributes import as_attribute, check_ranges, from_attribute
from hls4attn.models.operators.base import Attributes, check_same_attributes, take_attributes
from hls4attn.models.operators.gain_curve import CUBIC_CELL, CellCurve, curve_attributes, curve_from_attributes
from hls4attn.models.operators.gain_scaling import IDEAL, NonIdeality, Rescale, Scalers
from hls4attn.models.operators.gain_state import GainCellState

Tiling = Literal["circular", "absolute"]

_RANGES = {
    "heads": (1, 4096),
    "head_dim": (1, 4096),
    "window": (1, 1 << 16),
    "tile": (1, 1 << 16),
    "q_levels": (2, 256),
    "k_levels": (2, 256),
    "v_levels": (2, 256),
    "out_levels": (2, 1 << 12),
    "pulse_steps": (1, 1 << 12),
    "current_frac": (0, 20),
}
#: Largest magnitude of any intermediate result of the integers.
MAX_BITS = 62
#: Slots to a round of tiles in a file where they are grouped by absolute position: more than any sequence has.
_NO_ROUND = 1 << 30


@dataclass(frozen=True)
class GainCellSpec:
    """A gain-cell attention operator for some heads; the defaults are the paper's.

    Args:
        heads: number of heads.
        head_dim: D, width of a head.
        window: M, tokens that a head keeps; the newest overwrites the oldest.
        tile: slots of one pair of arrays, which clips and quantises on its own; divides `window`.
        q_levels: lengths of a query pulse, from 0 to full.
        k_levels: stored voltages of a key, from 0 to `vdd`.
        v_levels: those of a value.
        out_levels: steps between -1 and 1 of a tile's result.
        pulse_steps: lengths that the pulse between the arrays can have; analog in the paper.
        current_frac: fraction bits of the currents in the table, in microampere.
        leak: decay of a stored deviation, per token.
        vdd: supply voltage.
        score_saturation: charge of the first array that gives a pulse of full length.
        context_saturation: charge of the second array at which a tile saturates.
        slope: of the straight line that stands for the cell in the gradient.
        cell: current of a cell.
        tiling: "circular": a tile holds the slots ``t mod window`` of an array, as hardware has them; "absolute":
            the authors' grouping by position, which separates old and new tokens in the tile that is being written.
        scalers: a and b of q, k, v and y; None for the paper's initial ones.
        nonideal: noise and spread, for the float model only.

    Raises:
        SpecError: for parameters that no integers of this package represent.
    """

    op_type: ClassVar[str] = "GainCell"

    heads: int = 1
    head_dim: int = 64
    window: int = 1024
    tile: int = 64
    q_levels: int = 16
    k_levels: int = 8
    v_levels: int = 8
    out_levels: int = 32
    pulse_steps: int = 600
    current_frac: int = 7
    leak: float = 1.6e-4
    vdd: float = 0.9
    score_saturation: float = 80.0
    context_saturation: float = 40.0
    slope: float = 19.3
    tiling: Tiling = "circular"
    cell: CellCurve = CUBIC_CELL
    scalers: Scalers = field(default=None)  # type: ignore[assignment]  # set below
    nonideal: NonIdeality = IDEAL

    def __post_init__(self) -> None:
        check_ranges(self, _RANGES)
        if self.scalers is None:
            object.__setattr__(self, "scalers", Scalers.initial(self.heads, self.vdd))
        if self.window % self.tile:
            raise SpecError(f"{self.op_type}: tile={self.tile} does not divide window={self.window}")
        for name in ("leak", "vdd", "score_saturation", "context_saturation", "slope"):
            value = getattr(self, name)
            object.__setattr__(self, name, float(value))
            if not math.isfinite(value) or value < 0 or (value == 0 and name != "leak"):
                kind = "0 or more" if name == "leak" else "positive"
                raise SpecError(f"{self.op_type}: {name} must be {kind} and finite. Received: {value}")
        if self.tiling not in get_args(Tiling):
            raise SpecError(f"{self.op_type}: tiling must be one of {get_args(Tiling)}. Received: {self.tiling!r}")
        if len(self.scalers.q_a) != self.heads:
            raise SpecError(f"{self.op_type}: scalers of {len(self.scalers.q_a)} heads for heads={self.heads}")
        self.cell.check_range(self.vdd)
        gain_integer.check_widths(self, MAX_BITS)

    @classmethod
    def with_retention(cls, retention: float, token_time: float, **options: Any) -> GainCellSpec:
        """A spec whose leak follows from the cells' time constant and the time of a token, in the same unit."""
        if not (retention > 0 and token_time >= 0):
            raise SpecError(f"Retention must be positive, token time 0 or more. Received: {retention} and {token_time}")
        return cls(leak=token_time / retention, **options)

    @property
    def mid_rail(self) -> float:
        """The voltage that a cell relaxes to."""
        return self.vdd / 2

    @property
    def tiles(self) -> int:
        """Tiles of a window."""
        return self.window // self.tile

    @property
    def q_format(self) -> Fixed:
        """Format of query codes; those beyond the last level mean the last level."""
        return covering(0, self.q_levels - 1, 0)

    @property
    def k_format(self) -> Fixed:
        """Format of key codes."""
        return covering(0, self.k_levels - 1, 0)

    @property
    def v_format(self) -> Fixed:
        """Format of value codes."""
        return covering(0, self.v_levels - 1, 0)

    @property
    def in_formats(self) -> tuple[Fixed, Fixed, Fixed]:
        """Formats of q, k and v."""
        return self.q_format, self.k_format, self.v_format

    @property
    def code_limit(self) -> int:
        """Largest magnitude of a tile's code: half to even, as the float model rounds its end value."""
        return int(np.rint((self.out_levels - 1) / 2))

    @property
    def out_format(self) -> Fixed:
        """Format of a result: the sum of the tiles' codes."""
        top = (self.tiles + (self.tiling == "absolute")) * self.code_limit
        return covering(-top, top, 0)

    @property
    def out_step(self) -> float:
        """Value of one unit of a result, before the output scaler."""
        return 2 / (self.out_levels - 1)

    @cached_property
    def tables(self) -> tuple[Codes, Codes]:
        """Currents of keys and of values, each ``(window + 1, levels)``, by age and level; last an empty slot."""
        return gain_integer.current_table(self, self.k_levels), gain_integer.current_table(self, self.v_levels)

    @cached_property
    def rescales(self) -> tuple[Rescale, Rescale]:
        """From the first array's charge to pulse steps, and from the second one's to a tile's code."""
        return gain_integer.rescales(self)

    @property
    def charge_limit(self) -> int:
        """The second array's charge at which a tile saturates."""
        return math.floor(self.pulse_steps * 2**self.current_frac * self.context_saturation + 0.5)

    @cached_property
    def digest(self) -> str:
        """Names this spec; a state carries it."""
        text = "".join(f"{k}={np.asarray(v).tolist()};" for k, v in self.parameters().items())
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def reference(self, q: ArrayLike, k: ArrayLike, v: ArrayLike) -> Codes:
        """Sums of the tiles' codes for codes of shape ``(..., heads, tokens, head_dim)``: the normative integers.

        Raises:
            InputError: for shapes or dtypes that do not fit.
            FormatError: for codes outside their format.
            UnsupportedError: for a spec with noise or spread, which integers do not have.
        """
        return gain_integer.sequence(self, q, k, v)

    def step(self, q: ArrayLike, k: ArrayLike, v: ArrayLike, state: GainCellState) -> tuple[Codes, GainCellState]:
        """One token of shape ``(..., heads, head_dim)``: its result and the next state; begin with `empty_state`."""
        return gain_integer.step(self, q, k, v, state)

    def saturations(self, q: ArrayLike, k: ArrayLike, v: ArrayLike) -> int:
        """Number of results in which a tile reached the limit of its charge."""
        return gain_integer.saturations(self, q, k, v)

    def empty_state(self, *batch: int) -> GainCellState:
        """The integers' state before the first token."""
        return GainCellState.empty(self, batch, np.int64)

    def real(self, q: ArrayLike, k: ArrayLike, v: ArrayLike, quantised: bool = True) -> Reals:
        """The float function, scalers included, of real values of shape ``(..., heads, tokens, head_dim)``."""
        return gain_float.sequence(self, q, k, v, quantised)

    def real_step(
        self, q: ArrayLike, k: ArrayLike, v: ArrayLike, state: GainCellState, quantised: bool = True
    ) -> tuple[Reals, GainCellState]:
        """One token of the float function; begin with `empty_real_state`."""
        return gain_float.step(self, q, k, v, state, quantised)

    def empty_real_state(self, *batch: int) -> GainCellState:
        """The float model's state before the first token: voltages instead of codes."""
        return GainCellState.empty(self, batch, np.float64)

    def parameters(self) -> Attributes:
        """The defining parameters, as node attributes."""
        special = ("cell", "scalers", "nonideal")
        plain = {f.name: as_attribute(getattr(self, f.name)) for f in fields(self) if f.name not in special}
        return plain | curve_attributes(self.cell) | self.scalers.to_attributes() | self.nonideal.to_attributes()

    def to_attributes(self) -> Attributes:
        """Parameters and the constants of the ONNX function bodies."""
        return self.parameters() | gain_integer.constants(self, _NO_ROUND)

    def to_config(self) -> dict[str, Any]:
        """The defining parameters as plain values, for JSON."""
        return {name: np.asarray(value).tolist() for name, value in self.parameters().items()}

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> GainCellSpec:
        """The inverse of `parameters` and of `to_config`; other entries are ignored."""
        plain = [f for f in fields(cls) if f.name not in ("cell", "scalers", "nonideal")]
        names = [f.name for f in plain] + ["cell_kind", "cell", *Scalers.NAMES, *NonIdeality.NAMES]
        a = take_attributes(cls.op_type, parameters, names)
        return cls(
            **{f.name: from_attribute(f.name, f.type, a[f.name]) for f in plain},
            cell=curve_from_attributes(a),
            scalers=Scalers.from_attributes(a),
            nonideal=NonIdeality.from_attributes(a),
        )

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> GainCellSpec:
        """The spec that `to_attributes` described; constants are recomputed and must agree."""
        spec = cls.from_parameters(attributes)
        check_same_attributes(cls.op_type, attributes, spec.to_attributes())
        return spec
