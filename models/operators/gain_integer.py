# SPDX-License-Identifier: Apache-2.0
r"""The normative integers of gain-cell attention, as a sequence and token by token.

Formula, all int64, for codes q, k, v and the table ``G[age][level] = floor(2**current_frac * I + 1/2)``::

    S_j    = sum_d q_d G[age_j][k_jd]
    p_j    = clip((S_j * m1 + half1) >> s1, 0, pulse_steps)      0 for an empty slot
    A_td   = clip(sum_{j in tile t} p_j G[age_j][v_jd], -limit, limit)
    code   = clip((A_td * m2 + half2) >> s2, -code_limit, code_limit)
    y_d    = sum_t code_td

m1, s1, m2, s2 stand for the ratios between a charge and its result (`Rescale.of`); with the paper's figures
m1 = 1, s1 = 8, m2 = 86683, s2 = 34.  Right shifts are arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hls4attn.models.errors import FormatError, InputError, SpecError, UnsupportedError
from hls4attn.models.formats import Codes, Reals
from hls4attn.models.operators.base import Attributes
from hls4attn.models.operators.gain_scaling import Rescale
from hls4attn.models.operators.gain_state import GainCellState

if TYPE_CHECKING:
    from hls4attn.models.operators.gaincell import GainCellSpec

#: Queries computed at a time, and elements of a working array: bound memory, have no effect on results.
_QUERIES, _ELEMENTS = 64, 1 << 21


def real_currents(spec: GainCellSpec, levels: int) -> Reals:
    """Currents by age and stored level, in microampere."""
    age = np.arange(spec.window)[:, None]
    deviation = (2 * np.arange(levels) - (levels - 1)) * (spec.vdd / (2 * (levels - 1)))
    return spec.cell.current(deviation * np.exp(-spec.leak * age), spec.mid_rail)


def current_table(spec: GainCellSpec, levels: int) -> Codes:
    """Integer currents by age and level; a last row of zeros for slots that hold nothing."""
    current = real_currents(spec, levels)
    scaled = np.floor(np.ldexp(current, spec.current_frac) + 0.5)
    if np.abs(scaled).max() >= 1 << 31:
        raise SpecError(f"{spec.op_type}: currents up to {np.abs(current).max():g} uA do not fit 32 bits")
    return np.concatenate([scaled, np.zeros((1, levels))]).astype(np.int64)


def rescales(spec: GainCellSpec) -> tuple[Rescale, Rescale]:
    """From charges to pulse steps, and from charges to a tile's code."""
    unit = Fraction(1 << spec.current_frac)
    pulse = Fraction(spec.pulse_steps) / ((spec.q_levels - 1) * unit * Fraction(spec.score_saturation))
    code = Fraction(spec.out_levels - 1, 2) / (spec.pulse_steps * unit * Fraction(spec.context_saturation))
    return Rescale.of(pulse), Rescale.of(code)


def bounds(spec: GainCellSpec) -> tuple[int, int]:
    """Largest magnitudes of a score and of a tile's charge before it is limited."""
    keys, values = (int(np.abs(t).max()) for t in spec.tables)
    return spec.head_dim * (spec.q_levels - 1) * keys, spec.tile * spec.pulse_steps * values


def check_widths(spec: GainCellSpec, bits: int) -> None:
    """Refuse a spec of which any intermediate result has more than `bits` bits.

    Raises:
        SpecError: naming the result.
    """
    (score, charge), (pulse, code) = bounds(spec), spec.rescales
    if spec.charge_limit < 1:
        raise SpecError(f"{spec.op_type}: context_saturation={spec.context_saturation:g} is less than one charge unit")
    products = {
        "score": score * pulse.multiplier + pulse.half,
        "tile charge": charge,
        "tile code": spec.charge_limit * code.multiplier + code.half,
    }
    for name, top in products.items():
        if top.bit_length() > bits:
            raise SpecError(
                f"{spec.op_type}: the {name} takes {top.bit_length()} bits, more than {bits}; use fewer pulse_steps or "
                "less current_frac"
            )


def _check(spec: GainCellSpec, rank: int, *arrays: ArrayLike) -> list[Codes]:
    """Codes as int64, checked for dtype, one shape and range, and limited to the levels."""
    if not spec.nonideal.ideal:
        raise UnsupportedError(f"{spec.op_type}: integers have no noise and no spread; use real or real_step")
    found = []
    shape = np.shape(arrays[0])
    axes = "(..., heads, tokens, head_dim)" if rank == 3 else "(..., heads, head_dim)"
    if len(shape) < rank or (shape[-rank], shape[-1]) != (spec.heads, spec.head_dim):
        raise InputError(
            f"{spec.op_type}: q, k and v have shape {axes} with heads={spec.heads} and head_dim={spec.head_dim}. "
            f"Received: {shape}"
        )
    levels = (spec.q_levels, spec.k_levels, spec.v_levels)
    for name, array, fmt, count in zip("qkv", arrays, spec.in_formats, levels, strict=True):
        a = np.asarray(array)
        if a.dtype.kind not in "iu" or a.shape != shape:
            raise InputError(
                f"{spec.op_type}: {name} must be integer codes of shape {shape}. Received: {a.dtype} {a.shape}"
            )
        if not fmt.contains(a):
            raise FormatError(f"{spec.op_type}: {name} outside {fmt}. Received: [{a.min()}, {a.max()}]")
        found.append(np.minimum(a.astype(np.int64), count - 1))
    return found


def sequence(spec: GainCellSpec, q: ArrayLike, k: ArrayLike, v: ArrayLike) -> Codes:
    """Sums of tile codes; see `GainCellSpec.reference`."""
    arrays = _check(spec, 3, q, k, v)
    result = np.zeros(arrays[0].shape, dtype=np.int64)
    for where, charges in _blocks(spec, *arrays):
        result.reshape(-1, *result.shape[-2:])[where] = _codes(spec, charges).sum(axis=-3)
    return result


def saturations(spec: GainCellSpec, q: ArrayLike, k: ArrayLike, v: ArrayLike) -> int:
    """Number of results in which a tile reached the limit of its charge."""
    charges = (c for _, c in _blocks(spec, *_check(spec, 3, q, k, v)))
    return sum(int(np.count_nonzero((np.abs(c) > spec.charge_limit).any(axis=-3))) for c in charges)


def _codes(spec: GainCellSpec, charges: Codes) -> Codes:
    limited = np.clip(charges, -spec.charge_limit, spec.charge_limit)
    return np.clip(spec.rescales[1](limited), -spec.code_limit, spec.code_limit)


def exact_type(bound: int) -> Any:
    """The fastest type whose sums of integers up to `bound` are exact."""
    return np.float32 if bound < 1 << 24 else np.float64 if bound < 1 << 53 else np.int64


def _blocks(spec: GainCellSpec, q: Codes, k: Codes, v: Codes) -> Iterator[tuple[Any, Codes]]:
    """Charges of the tiles, some sequences and queries at a time.

    A product with a table entry per element becomes one matrix product per level, with the elements that hold it.

    Yields:
        Index into ``(sequences, tokens)`` and charges of shape ``(sequences, tiles, queries, head_dim)``.
    """
    tokens, dim = q.shape[-2:]
    if q.size == 0:
        return
    q, k, v = (a.reshape(-1, tokens, dim) for a in (q, k, v))
    tables = [t.T.astype(exact_type(b)) for t, b in zip(spec.tables, bounds(spec), strict=True)]
    known: dict[tuple[int, int, int], tuple[NDArray[Any], NDArray[Any]]] = {}
    for start in range(0, tokens, _QUERIES):
        stop = min(start + _QUERIES, tokens)
        first = max(start - start % spec.tile - spec.window, 0)
        last = -(-stop // spec.tile) * spec.tile
        key = (start - first, stop - start, last - first)
        if key not in known:
            age = np.arange(start, stop)[:, None] - np.arange(first, last)
            row = np.where((age >= 0) & (age < spec.window), age, spec.window)
            known = {key: (tables[0][:, row], tables[1][:, row])}
        batch = max(_ELEMENTS // ((stop - start) * (last - first)), 1)
        for n in range(0, len(q), batch):
            part = slice(n, n + batch)
            stored = [_padded(a[part, first : min(last, tokens)], last - first) for a in (k, v)]
            charges = _charges(spec, q[part, start:stop], stored, known[key])
            yield (part, slice(start, stop)), _by_tile(spec, charges, first)


def _padded(stored: Codes, length: int) -> Codes:
    """With codes of no level behind, up to whole tiles."""
    return np.pad(stored, ((0, 0), (0, length - stored.shape[1]), (0, 0)), constant_values=-1)


def _charges(
    spec: GainCellSpec, q: Codes, stored: list[Codes], currents: tuple[NDArray[Any], NDArray[Any]]
) -> NDArray[Any]:
    """Charges of consecutive tiles, ``(sequences, tiles, queries, head_dim)``, exact."""
    (k, v), (key_currents, value_currents) = stored, currents
    pulses = q.astype(key_currents.dtype)
    score = np.zeros((*q.shape[:2], k.shape[1]), dtype=key_currents.dtype)
    for level, current in enumerate(key_currents):
        score += (pulses @ (k == level).astype(score.dtype).swapaxes(-1, -2)) * current
    phi = np.clip(spec.rescales[0](score.astype(np.int64)), 0, spec.pulse_steps).astype(value_currents.dtype)
    tiles = (len(k), -1, spec.tile, v.shape[-1])
    charge = np.zeros((len(k), k.shape[1] // spec.tile, *q.shape[1:]), dtype=phi.dtype)
    for level, current in enumerate(value_currents):
        weight = (phi * current).reshape(*phi.shape[:2], -1, spec.tile).swapaxes(1, 2)
        charge += weight @ (v == level).astype(phi.dtype).reshape(tiles)
    return charge


def _by_tile(spec: GainCellSpec, charges: NDArray[Any], first: int) -> Codes:
    """Charges of consecutive positions, added where they share the slots of a tile."""
    count = charges.shape[1]
    if spec.tiling == "absolute" or count <= spec.tiles:
        return charges.astype(np.int64)
    total = np.zeros((len(charges), spec.tiles, *charges.shape[2:]), dtype=np.int64)
    for i in range(count):
        total[:, i % spec.tiles] += charges[:, i].astype(np.int64)
    return total


def step(
    spec: GainCellSpec, q: ArrayLike, k: ArrayLike, v: ArrayLike, state: GainCellState
) -> tuple[Codes, GainCellState]:
    """One token; see `GainCellSpec.step`."""
    query, key, value = _check(spec, 2, q, k, v)
    state.check(spec, query.shape[:-2], np.int64)
    state = state.written(spec, key, value)
    age, tile = state.slots(spec)
    by_key, by_value = (t[age[:, None], s] for t, s in zip(spec.tables, (state.keys, state.values), strict=True))
    score = (by_key * query[..., None, :]).sum(axis=-1)
    phi = np.clip(spec.rescales[0](score), 0, spec.pulse_steps)
    weighted = phi[..., None] * by_value
    charges = np.stack([weighted[..., tile == t, :].sum(axis=-2) for t in np.unique(tile)])
    return _codes(spec, charges).sum(axis=0), state


def constants(spec: GainCellSpec, no_round: int) -> Attributes:
    """Constants of the ONNX function bodies."""
    pulse, code = spec.rescales
    numbers = {
        "q_last": spec.q_levels - 1,
        "k_last": spec.k_levels - 1,
        "v_last": spec.v_levels - 1,
        "pulse_multiplier": pulse.multiplier,
        "pulse_half": pulse.half,
        "pulse_divisor": 1 << pulse.shift,
        "charge_limit": spec.charge_limit,
        "code_multiplier": code.multiplier,
        "code_half": code.half,
        "code_divisor": 1 << code.shift,
        "code_limit": spec.code_limit,
        "splits": int(spec.tiling == "absolute"),
        "round_tiles": spec.tiles if spec.tiling == "circular" else no_round,
    }
    arrays: Attributes = {name: np.array(value, dtype=np.int64) for name, value in numbers.items()}
    return arrays | {
        "key_currents": spec.tables[0],
        "value_currents": spec.tables[1],
    }
