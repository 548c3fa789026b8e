# SPDX-License-Identifier: Apache-2.0
"""The two arrays of a gain-cell head as a Keras layer, with the surrogate gradient of the paper's authors.

A product with one table entry per element is computed as one matrix product per level, with the elements that hold
it; in integers the sums are exact, in whichever type holds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.keras.layers import Layer

from hls4attn.models.errors import SpecError, UnsupportedError
from hls4attn.models.operators import GainCellSpec
from hls4attn.models.operators.gain_integer import bounds, exact_type, real_currents


class _Arrays(NamedTuple):
    """What both arrays give: charges in units of their saturation, pulses from 0 to 1, sums of tile codes."""

    score: tf.Tensor
    phi: tf.Tensor
    tiles: tf.Tensor
    sums: tf.Tensor


class GainCells(Layer):  # type: ignore[misc]
    """Codes of q, k and v, each ``(batch, heads, tokens, head_dim)``, to the sums of the tiles' codes.

    Args:
        spec: the operator, or its configuration; its scalers play no part here.
        quantised: compute the integer reference; false gives the float model, whose pulses between the arrays and
            currents are not quantised.
    """

    def __init__(self, spec: GainCellSpec | Mapping[str, Any], quantised: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._spec = spec if isinstance(spec, GainCellSpec) else GainCellSpec.from_parameters(spec)
        if not self._spec.nonideal.ideal:
            raise UnsupportedError(f"{self.name}: noise and spread are in GainCellSpec.real only; set nonideal=IDEAL")
        self.quantised = bool(quantised)

    def spec(self) -> GainCellSpec:
        """The operator spec."""
        return self._spec

    def build(self, input_shape: Any) -> None:
        """Check the shapes; lay out the positions."""
        spec = self._spec
        shapes = [tuple(s) for s in input_shape]
        if len(shapes) != 3 or len({*shapes}) != 1 or len(shapes[0]) != 4 or shapes[0][2] is None:
            raise SpecError(f"{self.name}: takes q, k and v of one shape with a fixed number of tokens: {shapes}")
        if (shapes[0][1], shapes[0][3]) != (spec.heads, spec.head_dim):
            raise SpecError(
                f"{self.name}: made for heads={spec.heads} and head_dim={spec.head_dim}. Received: {shapes[0]}"
            )
        self.tokens = int(shapes[0][2])
        count = -(-self.tokens // spec.tile)
        self.per_round = count if spec.tiling == "absolute" else min(count, spec.tiles)
        self.rounds = -(-count // self.per_round)
        self.padded = self.rounds * self.per_round * spec.tile
        age = np.arange(self.tokens)[:, None] - np.arange(self.padded)
        self.row = np.where((age >= 0) & (age < spec.window), age, spec.window).astype(np.int32)
        super().build(input_shape)

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        """Sums of tile codes."""

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def both(q: tf.Tensor, k: tf.Tensor, v: tf.Tensor) -> Any:
            found = self._integer(q, k, v) if self.quantised else self._float(q, k, v)

            def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
                return self._gradient(found, (q, k, v), upstream)

            return found.sums, gradient

        return both(*inputs)

    def _limited(self, values: tuple[tf.Tensor, ...]) -> list[tf.Tensor]:
        """Codes as int64; keys and values padded to whole rounds with codes of no level."""
        spec = self._spec
        last = (spec.q_levels - 1, spec.k_levels - 1, spec.v_levels - 1)
        q, k, v = (tf.minimum(tf.cast(tf.round(x), tf.int64), n) for x, n in zip(values, last, strict=True))
        pads = [[0, 0], [0, 0], [0, self.padded - self.tokens], [0, 0]]
        return [q, *(tf.pad(x, pads, constant_values=-1) for x in (k, v))]

    def _integer(self, *values: tf.Tensor) -> _Arrays:
        spec = self._spec
        tables = [t.astype(exact_type(b)) for t, b in zip(spec.tables, bounds(spec), strict=True)]
        (pulse, code), q_unit = spec.rescales, (spec.q_levels - 1) * 2.0**spec.current_frac

        def to_pulse(score: tf.Tensor) -> tf.Tensor:
            return tf.clip_by_value(_rescale(tf.cast(score, tf.int64), pulse), 0, spec.pulse_steps)

        def to_code(charge: tf.Tensor) -> tf.Tensor:
            limited = tf.clip_by_value(tf.cast(charge, tf.int64), -spec.charge_limit, spec.charge_limit)
            return tf.clip_by_value(_rescale(limited, code), -spec.code_limit, spec.code_limit)

        score, phi, tiles, sums = self._compute(values, tables, to_pulse, to_code)
        return _Arrays(
            tf.cast(score, tf.float32) / np.float32(q_unit * spec.score_saturation),
            tf.cast(phi, tf.float32) / spec.pulse_steps,
            tf.cast(tiles, tf.float32) / np.float32(spec.charge_limit),
            tf.cast(sums, tf.float32),
        )

    def _float(self, *values: tf.Tensor) -> _Arrays:
        spec = self._spec
        tables = [np.pad(real_currents(spec, n), ((0, 1), (0, 0))) for n in (spec.k_levels, spec.v_levels)]
        score_unit = (spec.q_levels - 1) * spec.score_saturation

        def to_pulse(score: tf.Tensor) -> tf.Tensor:
            return tf.clip_by_value(score / score_unit, 0.0, 1.0)

        def to_code(charge: tf.Tensor) -> tf.Tensor:
            return tf.round(tf.clip_by_value(charge / spec.context_saturation, -1.0, 1.0) / spec.out_step)

        score, phi, tiles, sums = self._compute(values, tables, to_pulse, to_code)
        single = (score / score_unit, phi, tiles / spec.context_saturation, sums)
        return _Arrays(*(tf.cast(x, tf.float32) for x in single))

    def _compute(
        self, values: tuple[tf.Tensor, ...], tables: list[Any], to_pulse: Any, to_code: Any
    ) -> tuple[tf.Tensor, ...]:
        """Both arrays with any tables of currents."""
        spec = self._spec
        q, k, v = self._limited(values)
        key_table, value_table = (tf.constant(t.T) for t in tables)
        pulses, score = tf.cast(q, key_table.dtype), 0
        for level in range(spec.k_levels):
            held = tf.cast(tf.equal(k, level), key_table.dtype)
            score += tf.matmul(pulses, held, transpose_b=True) * tf.gather(key_table[level], self.row)
        phi = to_pulse(score)
        charge = 0
        for level in range(spec.v_levels):
            weight = tf.cast(phi, value_table.dtype) * tf.gather(value_table[level], self.row)
            held = tf.cast(tf.equal(v, level), value_table.dtype)
            charge += tf.matmul(self._by_tile(weight), self._tiled(held))
        tiles = tf.reduce_sum(charge, axis=2)
        return score, phi, tiles, tf.reduce_sum(to_code(tiles), axis=2)

    def _by_tile(self, weight: tf.Tensor) -> tf.Tensor:
        """(batch, heads, tokens, padded) -> (batch, heads, round, tile, tokens, slot)."""
        heads, slots = self._spec.heads, self._spec.tile
        split = tf.reshape(weight, (-1, heads, self.tokens, self.rounds, self.per_round, slots))
        return tf.transpose(split, (0, 1, 3, 4, 2, 5))

    def _tiled(self, stored: tf.Tensor) -> tf.Tensor:
        """(batch, heads, padded, head_dim) -> (batch, heads, round, tile, slot, head_dim)."""
        heads, slots, dim = self._spec.heads, self._spec.tile, self._spec.head_dim
        return tf.reshape(stored, (-1, heads, self.rounds, self.per_round, slots, dim))

    def _gradient(self, a: _Arrays, values: tuple[tf.Tensor, ...], upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Section 2.6 of the equations, in units of codes."""
        spec = self._spec
        steps = [spec.vdd / (n - 1) for n in (spec.k_levels, spec.v_levels)]
        pads = [[0, 0], [0, 0], [0, self.padded - self.tokens], [0, 0]]
        q = values[0] / (spec.q_levels - 1)
        k, v = (tf.pad(x * s - spec.mid_rail, pads) for x, s in zip(values[1:], steps, strict=True))
        decay = np.where(self.row < spec.window, np.exp(-spec.leak * self.row), 0.0).astype(np.float32)
        inside = tf.cast(tf.abs(a.tiles) <= 1.0, tf.float32)
        by_tile = upstream[:, :, None] * inside / (spec.out_step * spec.context_saturation)
        by_tile = by_tile[:, :, None]  # one for every round
        by_phi = tf.transpose(tf.matmul(by_tile, self._tiled(v), transpose_b=True), (0, 1, 4, 2, 3, 5))
        by_phi = tf.reshape(by_phi, (-1, spec.heads, self.tokens, self.padded))
        by_value = tf.matmul(self._by_tile(a.phi * decay), by_tile, transpose_a=True)
        by_value = tf.reshape(by_value, (-1, spec.heads, self.padded, spec.head_dim))
        passed = tf.cast((a.score >= 0.0) & (a.score <= 1.0), tf.float32)
        by_score = spec.slope**2 * by_phi * passed * (decay * decay / spec.score_saturation)
        by_query = tf.matmul(by_score, k) / (spec.q_levels - 1)
        by_key = tf.matmul(by_score, q, transpose_a=True)[:, :, : self.tokens] * steps[0]
        return by_query, by_key, spec.slope * by_value[:, :, : self.tokens] * steps[1]

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "spec": self._spec.to_config(), "quantised": self.quantised}


def _rescale(x: tf.Tensor, by: Any) -> tf.Tensor:
    """A `Rescale` of int64."""
    return tf.bitwise.right_shift(x * by.multiplier + by.half, tf.constant(by.shift, tf.int64))
