# SPDX-License-Identifier: Apache-2.0
"""The Keras layer of an operator's spec as a model on its own.  Needs TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow import keras

from hls4attn.host.extension import KERAS_LAYERS
from hls4attn.host.operator_models import is_norm
from hls4attn.models.errors import SpecError
from hls4attn.models.layers import (
    AILayerNorm,
    ClippedActivation,
    ConSmax,
    E2Context,
    E2Softmax,
    GainCells,
    IntegerLayerNorm,
    IntegerSoftmax,
)
from hls4attn.models.operators import (
    AILayerNormSpec,
    ConSmaxSpec,
    ConSmaxSplitSpec,
    E2ContextSpec,
    E2SoftmaxSpec,
    GainCellSpec,
    SoftmaxSpec,
)


def operator_keras(spec: Any, shape: tuple[int, ...]) -> keras.Model:
    """A Keras model of one operator, computing what `operator_model` says.

    Args:
        spec: the operator.
        shape: of the input, without the batch.

    Raises:
        SpecError: for an operator that has no layer.
    """
    start = keras.layers.Input(shape, name="values")
    if isinstance(spec, GainCellSpec):
        return keras.Model(start, GainCells(spec, name="cells")(_operands(spec, start)))
    if isinstance(spec, E2ContextSpec):
        products = keras.layers.Lambda(lambda x: tf.matmul(x, x, transpose_b=True))(start)
        scores = ClippedActivation(str(spec.in_format), name="scores")(products)
        layer = E2Context(
            spec.heads,
            spec.in_format,
            spec.score_scale,
            v_format=spec.v_format,
            out_format=spec.out_format,
            name="context",
        )
        return keras.Model(start, layer([scores, start]))
    layer = _norm_layer(spec) if is_norm(spec) else _score_layer(spec)
    model = keras.Model(start, layer(start))
    _set_weights(layer, spec)
    return model


def _operands(spec: GainCellSpec, tokens: Any) -> list[Any]:
    """q, k and v as `operator_model` cuts them out of its input."""
    widest = max(f.width for f in spec.in_formats)
    parts = keras.layers.Lambda(lambda x: tf.split(x, 3, axis=-1))(tokens)
    scaled = [p * 2.0 ** (f.width - widest) for p, f in zip(parts, spec.in_formats, strict=True)]
    return [ClippedActivation(str(f), name=n)(p) for n, f, p in zip("qkv", spec.in_formats, scaled, strict=True)]


def _score_layer(spec: Any) -> keras.layers.Layer:
    if type(spec) in KERAS_LAYERS:
        return KERAS_LAYERS[type(spec)](spec)
    common = (spec.heads, spec.in_format, spec.score_scale)
    if isinstance(spec, ConSmaxSpec):
        method = "split" if isinstance(spec, ConSmaxSplitSpec) else "direct"
        return ConSmax(
            *common, out_frac=spec.out_frac, out_width=spec.out_width, method=method, causal=spec.causal, name="score"
        )
    if isinstance(spec, E2SoftmaxSpec):
        return E2Softmax(*common, slice_length=spec.slice_length, log2e=spec.log2e, causal=spec.causal, name="score")
    if isinstance(spec, SoftmaxSpec):
        return IntegerSoftmax(*common, causal=spec.causal, name="score")
    raise SpecError(f"{spec.op_type} has no Keras layer")


def _norm_layer(spec: Any) -> keras.layers.Layer:
    if isinstance(spec, AILayerNormSpec):
        return AILayerNorm(spec.in_format, spec.out_format, squares=spec.squares, name="norm")
    return IntegerLayerNorm(spec.in_format, spec.out_format, name="norm")


def _set_weights(layer: keras.layers.Layer, spec: Any) -> None:
    if isinstance(spec, ConSmaxSpec):
        layer.set_weights([np.array(spec.beta), np.array(spec.gamma)])
    names = ("gamma", "beta", "alpha", "zero_point", "multiplier", "shift")
    for name in names if isinstance(spec, AILayerNormSpec) else names[:2] if is_norm(spec) else ():
        getattr(layer, name).assign(np.asarray(getattr(spec, name), dtype=np.float32))
    if layer.spec() != spec:
        raise SpecError(f"{spec.op_type}: the Keras layer does not take every parameter of this spec")
