# SPDX-License-Identifier: Apache-2.0
"""The float model of gain-cell attention, as a sequence and token by token, and its surrogate gradient."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hls4attn.models.errors import InputError, UnsupportedError
from hls4attn.models.formats import Reals
from hls4attn.models.operators.gain_curve import PolynomialCurve
from hls4attn.models.operators.gain_state import GainCellState, sequence_tiles

if TYPE_CHECKING:
    from hls4attn.models.operators.gaincell import GainCellSpec


@dataclass(frozen=True)
class Trace:
    """Intermediate results of a sequence.

    Attributes:
        score: S, shape ``(..., heads, tokens, tokens)``; 0 where nothing is seen.
        phi: pulses between the arrays, likewise.
        tiles: A, shape ``(tiles, ..., heads, tokens, head_dim)``.
        sums: sum over the tiles of what they give, before the output scaler.
        decay: g, shape ``(tokens, tokens)``.
        visible: which positions a token sees.
    """

    score: Reals
    phi: Reals
    tiles: Reals
    sums: Reals
    decay: Reals
    visible: NDArray[np.bool_]


def _quantise(x: Reals, high: float, levels: int, quantised: bool) -> Reals:
    """Clipped to 0..high, and half to even on its levels."""
    clipped = np.clip(x, 0.0, high)
    step = high / (levels - 1)
    return step * np.rint(clipped / step) if quantised else clipped


def _check(spec: GainCellSpec, rank: int, **values: ArrayLike) -> list[Reals]:
    """Finite numbers of one shape that fits the spec, in float64."""
    arrays = {name: np.asarray(v) for name, v in values.items()}
    shapes = {a.shape for a in arrays.values()}
    shape = next(iter(shapes))
    if len(shapes) > 1 or len(shape) < rank or (shape[-rank], shape[-1]) != (spec.heads, spec.head_dim):
        axes = "(..., heads, tokens, head_dim)" if rank == 3 else "(..., heads, head_dim)"
        received = ", ".join(f"{n} {a.shape}" for n, a in arrays.items())
        raise InputError(
            f"GainCell: q, k and v have one shape {axes} with heads={spec.heads} and head_dim={spec.head_dim}. "
            f"Received: {received}"
        )
    for name, a in arrays.items():
        if a.dtype.kind not in "fiu" or not np.all(np.isfinite(a)):
            raise InputError(f"GainCell: {name} must be finite numbers. Received: {a.dtype}")
    return [a.astype(np.float64) for a in arrays.values()]


def _stored(spec: GainCellSpec, values: Sequence[Reals], quantised: bool) -> tuple[Reals, Reals, Reals]:
    """Pulses and voltages of values of shape ``(..., heads, tokens, head_dim)``."""
    (q, k, v), s = values, spec.scalers
    return (
        _quantise(s.apply("q", q), 1.0, spec.q_levels, quantised),
        _quantise(s.apply("k", k), spec.vdd, spec.k_levels, quantised),
        _quantise(s.apply("v", v), spec.vdd, spec.v_levels, quantised),
    )


def _tile_results(spec: GainCellSpec, tiles: Reals, quantised: bool) -> Reals:
    clipped = np.clip(tiles / spec.context_saturation, -1.0, 1.0)
    return spec.out_step * np.rint(clipped / spec.out_step) if quantised else clipped


def _currents(
    spec: GainCellSpec, voltages: Reals, levels: int, decay: Reals, quantised: bool
) -> Iterator[tuple[Reals, Reals]]:
    """The current as a sum of products: (a function of the voltages, a function of the age).

    A polynomial is one by its powers, any curve by the levels that occur.
    """
    w = voltages - spec.mid_rail
    if isinstance(spec.cell, PolynomialCurve):
        for power, c in enumerate(spec.cell.coefficients):
            yield w**power, c * decay**power
        return
    if not quantised:
        raise UnsupportedError("GainCell: without quantisers a measured cell is computed token by token: real_step")
    codes = np.rint(voltages / spec.vdd * (levels - 1))
    for code in range(levels):
        deviation = code * spec.vdd / (levels - 1) - spec.mid_rail
        yield (codes == code).astype(np.float64), spec.cell.current(deviation * decay, spec.mid_rail)


def core(spec: GainCellSpec, pulses: Reals, keys: Reals, values: Reals, quantised: bool = True) -> Trace:
    """Both arrays, from pulses of 0 to 1 and stored voltages of shape ``(..., heads, tokens, head_dim)``."""
    tokens = pulses.shape[-2]
    age = np.arange(tokens)[:, None] - np.arange(tokens)
    visible = (age >= 0) & (age < spec.window)
    decay = np.exp(-spec.leak * np.maximum(age, 0))
    score = np.zeros((*pulses.shape[:-1], tokens))
    for of_voltage, of_age in _currents(spec, keys, spec.k_levels, decay, quantised):
        score += (pulses @ of_voltage.swapaxes(-1, -2)) * of_age
    score *= visible
    phi = np.clip(score / spec.score_saturation, 0.0, 1.0)
    number = sequence_tiles(spec, tokens)
    tiles = np.zeros((number.max(initial=0) + 1, *pulses.shape))
    for of_voltage, of_age in _currents(spec, values, spec.v_levels, decay, quantised):
        weight = phi * of_age
        for t in range(len(tiles)):
            tiles[t] += weight[..., number == t] @ of_voltage[..., number == t, :]
    return Trace(score, phi, tiles, _tile_results(spec, tiles, quantised).sum(axis=0), decay, visible)


def sequence(spec: GainCellSpec, q: ArrayLike, k: ArrayLike, v: ArrayLike, quantised: bool = True) -> Reals:
    """Y for whole sequences; see `GainCellSpec.real`."""
    arrays = _check(spec, 3, q=q, k=k, v=v)
    if not spec.nonideal.ideal or not (quantised or isinstance(spec.cell, PolynomialCurve)):
        return _by_tokens(spec, arrays, quantised)
    trace = core(spec, *_stored(spec, arrays, quantised), quantised)
    return spec.scalers.apply("o", trace.sums)


def code_sums(spec: GainCellSpec, q: ArrayLike, k: ArrayLike, v: ArrayLike) -> Reals:
    """What the integers approximate: the float model's sums of tile codes, for the same codes of q, k and v."""
    highs = (1.0, spec.vdd, spec.vdd)
    last = (spec.q_levels - 1, spec.k_levels - 1, spec.v_levels - 1)
    pulses, keys, values = (
        np.minimum(np.asarray(c), n) * (high / n) for c, n, high in zip((q, k, v), last, highs, strict=True)
    )
    return cast(Reals, np.rint(core(spec, pulses, keys, values).sums / spec.out_step))


def _by_tokens(spec: GainCellSpec, arrays: Sequence[Reals], quantised: bool) -> Reals:
    q, k, v = arrays
    state = GainCellState.empty(spec, q.shape[:-3], np.float64)
    result = np.empty_like(q)
    for t in range(q.shape[-2]):
        result[..., t, :], state = step(spec, q[..., t, :], k[..., t, :], v[..., t, :], state, quantised)
    return result


def step(
    spec: GainCellSpec, q: ArrayLike, k: ArrayLike, v: ArrayLike, state: GainCellState, quantised: bool = True
) -> tuple[Reals, GainCellState]:
    """One token, with noise and spread if the spec has them; see `GainCellSpec.real_step`."""
    arrays = [a[..., None, :] for a in _check(spec, 2, q=q, k=k, v=v)]
    batch = arrays[0].shape[:-3]
    state.check(spec, batch, np.float64)
    pulse, key, value = (a[..., 0, :] for a in _stored(spec, arrays, quantised))
    token, state = state.count, state.written(spec, key, value)
    age, tile = state.slots(spec)
    seen = age < spec.window
    gain, leak = spec.nonideal.cells((2, spec.heads, spec.window, spec.head_dim))
    decay = np.exp(-spec.leak * leak * age[:, None])
    deviations = ((s - spec.mid_rail) * d for s, d in zip((state.keys, state.values), decay, strict=True))
    by_key, by_value = (g * spec.cell.current(d, spec.mid_rail) for g, d in zip(gain, deviations, strict=True))
    read = np.unique(tile[seen])
    score_noise, tile_noise = spec.nonideal.noise(
        token, (*batch, spec.heads, spec.window), (len(read), *batch, spec.heads, spec.head_dim)
    )
    score = (by_key @ pulse[..., None])[..., 0] / spec.score_saturation + score_noise
    weighted = (np.clip(score, 0.0, 1.0) * seen)[..., None] * by_value
    tiles = np.stack([weighted[..., tile == t, :].sum(axis=-2) for t in read])
    sums = _tile_results(spec, tiles + tile_noise * spec.context_saturation, quantised).sum(axis=0)
    return spec.scalers.apply("o", sums[..., None, :])[..., 0, :], state


def gradient(
    spec: GainCellSpec,
    q: ArrayLike,
    k: ArrayLike,
    v: ArrayLike,
    upstream: ArrayLike,
    quantised: bool = True,
) -> dict[str, Reals]:
    """The surrogate gradient of ``sum(upstream * real(q, k, v))`` by q, k, v and every scaler.

    Quantisers pass it on, clips stop it outside their range, and a cell counts as a straight line of `spec.slope`.
    """
    arrays = dict(zip("qkv", _check(spec, 3, q=q, k=k, v=v), strict=True))
    if not spec.nonideal.ideal:
        raise UnsupportedError("GainCell: the gradient is that of the model without noise and spread")
    s, up = spec.scalers, np.asarray(upstream, dtype=np.float64)
    pulses, keys, values = _stored(spec, list(arrays.values()), quantised)
    trace = core(spec, pulses, keys, values, quantised)
    number = sequence_tiles(spec, pulses.shape[-2])
    by_tile = up * np.reshape(s.o_a, (-1, 1, 1)) / spec.context_saturation
    by_phi, by_value = np.zeros_like(trace.score), np.zeros_like(values)
    for t, charge in enumerate(trace.tiles):
        of_tile, passed = number == t, by_tile * (np.abs(charge / spec.context_saturation) <= 1)
        by_phi[..., of_tile] = passed @ (values[..., of_tile, :] - spec.mid_rail).swapaxes(-1, -2)
        by_value[..., of_tile, :] = (trace.phi * trace.decay)[..., of_tile].swapaxes(-1, -2) @ passed
    ratio = trace.score / spec.score_saturation
    by_score = spec.slope * by_phi * trace.decay * trace.visible * ((ratio >= 0) & (ratio <= 1))
    by_score *= trace.decay / spec.score_saturation
    inner = {
        "q": spec.slope * by_score @ (keys - spec.mid_rail),
        "k": spec.slope * by_score.swapaxes(-1, -2) @ pulses,
        "v": spec.slope * by_value,
    }
    axes = (*range(up.ndim - 3), -2, -1)
    found = {"o_a": (up * trace.sums).sum(axis=axes), "o_b": up.sum(axis=axes)}
    for name, x in arrays.items():
        scaled = s.apply(name, x)
        passed = inner[name] * ((scaled >= 0) & (scaled <= (1.0 if name == "q" else spec.vdd)))
        found[name] = passed * np.reshape(getattr(s, f"{name}_a"), (-1, 1, 1))
        found[f"{name}_a"], found[f"{name}_b"] = (passed * x).sum(axis=axes), passed.sum(axis=axes)
    return found
