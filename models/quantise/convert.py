# SPDX-License-Identifier: Apache-2.0
"""A trained float Keras transformer as an integer one: formats from calibration data, weights kept, no retraining."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from qkeras import QDense
from tensorflow import keras

from hls4attn.models.errors import UnsupportedError
from hls4attn.models.export.keras_export import freeze_weights
from hls4attn.models.layers import (
    CUSTOM_OBJECTS,
    AILayerNorm,
    ClippedActivation,
    FixedQuantizer,
    IntegerLayerNorm,
    PositionEmbedding,
    QMeanPool,
    QPositionEmbedding,
    calibrate_norms,
)
from hls4attn.models.quantise.attention import quantise_attention
from hls4attn.models.quantise.calibration import EPSILON_SHARE, check_calibration, choose_format, visible_epsilon
from hls4attn.models.quantise.plan import QuantisePlan

Array = NDArray[np.floating[Any]]


def quantise_model(
    model: keras.Model,
    calibration: ArrayLike,
    plan: QuantisePlan,
    on_layer: Callable[[int, int], None] | None = None,
) -> keras.Model:
    """The integer model of a trained float model.

    Layers taken: Dense (linear or ReLU), MultiHeadAttention (self-attention without mask), LayerNormalization, Add,
    ReLU, Activation, GlobalAveragePooling1D, Reshape, Permute, Flatten, Dropout, `PositionEmbedding`.

    Args:
        model: functional Keras model with float weights.
        calibration: representative inputs, ``(samples, *input shape)``; the input is quantised unsigned if none of them
            is negative.
        plan: operators and widths.
        on_layer: called with (finished, all) layers.

    Raises:
        InputError: for an unusable calibration set.
        UnsupportedError: naming the first layer that has no integer twin, or a model without softmax and LayerNorm.
    """
    if not getattr(model, "_is_graph_network", False) or len(model.inputs) != 1 or len(model.outputs) != 1:
        raise UnsupportedError("Quantisation takes a functional Keras model with one input and one output")
    kinds = {type(layer) for layer in model.layers}
    if not kinds & {keras.layers.MultiHeadAttention, keras.layers.LayerNormalization}:
        own = {*CUSTOM_OBJECTS.values()} - {PositionEmbedding}  # which is one of float models
        quantised = any(kind in own or kind.__module__.startswith("qkeras") for kind in kinds)
        remedy = "; its layers are quantised already: hls4attn export MODEL.keras OUT.onnx" if quantised else ""
        raise UnsupportedError(
            f"{model.name} has neither MultiHeadAttention nor LayerNormalization: nothing for these operators to "
            f"replace{remedy}"
        )
    data = check_calibration(calibration, tuple(model.inputs[0].shape[1:]))
    result = _Quantiser(model, data, plan).run(on_layer)
    freeze_weights(result)
    calibrate_norms(result, data)
    return result


class _Quantiser:
    def __init__(self, model: keras.Model, data: Array, plan: QuantisePlan) -> None:
        self.model, self.data, self.plan = model, data, plan
        self.layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
        outputs = [layer.output for layer in self.layers]
        values = keras.Model(model.inputs, outputs).predict(data, verbose=0)
        named = zip(outputs, values if len(outputs) > 1 else [values], strict=True)
        self.values: dict[int, Array] = {id(t): v for t, v in named} | {id(model.inputs[0]): data}
        self.made: dict[int, Any] = {}

    def run(self, on_layer: Callable[[int, int], None] | None) -> keras.Model:
        start = keras.layers.Input(self.model.inputs[0].shape[1:], name="input")
        signed = bool(self.data.min() < 0)  # an input that never is negative (pixels) keeps its sign bit for precision
        fmt = choose_format(self.data, self.plan.activation_bits, signed, cover=True)
        self.made[id(self.model.inputs[0])] = ClippedActivation(str(fmt), name="input_codes")(start)
        for done, layer in enumerate(self.layers, 1):
            if len(layer.inbound_nodes) != 1:
                raise UnsupportedError(f"{layer.name}: a layer used {len(layer.inbound_nodes)} times is not supported")
            convert = _CONVERTERS.get(type(layer))
            if convert is None:
                names = ", ".join(sorted(t.__name__ for t in _CONVERTERS))
                raise UnsupportedError(
                    f"{layer.name}: layer {type(layer).__name__} has no integer twin; known: {names}"
                )
            self.made[id(layer.output)] = convert(self, layer)
            if on_layer:
                on_layer(done, len(self.layers))
        return keras.Model(start, self.made[id(self.model.outputs[0])], name=f"{self.model.name}_integer")

    def inputs(self, layer: Any) -> list[Any]:
        """Keras tensors that enter a layer; those given by keyword too."""
        return list(layer.inbound_nodes[0].keras_inputs)

    def source(self, layer: Any) -> Any:
        """The quantised tensor that enters a layer with one input."""
        return self.made[id(self.inputs(layer)[0])]

    def activation(self, x: Any, values: Array, name: str, bits: int | None = None, signed: bool = True) -> Any:
        """Quantise to the best format for the float values; unsigned only where no input could give a negative one."""
        return ClippedActivation(str(choose_format(values, bits or self.plan.activation_bits, signed)), name=name)(x)

    def dense(self, layer: keras.layers.Dense) -> Any:
        signed = _is_linear(layer)
        kernel = layer.kernel.numpy()
        bias = layer.bias.numpy() if layer.use_bias else np.zeros(layer.units, np.float32)
        twin = QDense(
            layer.units,
            kernel_quantizer=FixedQuantizer(choose_format(kernel, self.plan.weight_bits)),
            bias_quantizer=FixedQuantizer(choose_format(bias, self.plan.bias_bits, cover=True)),
            name=layer.name,
        )
        y = twin(self.source(layer))
        twin.set_weights([kernel, bias])
        return self.activation(y, self.values[id(layer.output)], f"{layer.name}_codes", signed=signed)

    def attention(self, layer: keras.layers.MultiHeadAttention) -> Any:
        sources = self.inputs(layer)
        if len({id(t) for t in sources}) != 1:
            raise UnsupportedError(
                f"{layer.name}: only self-attention is supported (query, key and value the same tensor)"
            )
        node = layer.inbound_nodes[0]
        call = signature(layer.call).bind_partial(*node.call_args, **node.call_kwargs).arguments
        if call.get("attention_mask") is not None or call.get("use_causal_mask"):
            raise UnsupportedError(f"{layer.name}: masks are not supported here; use QSelfAttention with causal=True")
        if call.get("return_attention_scores"):
            raise UnsupportedError(f"{layer.name}: return_attention_scores=True; only the attention's result is given")
        return quantise_attention(layer, self.values[id(sources[0])], self.source(layer), self.plan)

    def norm(self, layer: keras.layers.LayerNormalization) -> Any:
        values, out = self.values[id(self.inputs(layer)[0])], self.values[id(layer.output)]
        if list(np.atleast_1d(layer.axis)) not in ([-1], [values.ndim - 1]) or values.ndim != 3:
            raise UnsupportedError(
                f"{layer.name}: LayerNormalization over the last axis of (batch, rows, channels) only"
            )
        smallest = visible_epsilon(values, layer.epsilon)
        if smallest is not None:
            raise UnsupportedError(
                f"{layer.name}: epsilon={layer.epsilon:g} is more than {EPSILON_SHARE:.0%} of the smallest "
                f"variance ({smallest:.3g}); integer normalisation has no epsilon. Train with epsilon=1e-6"
            )
        in_format = choose_format(values, self.plan.residual_bits, cover=True)
        x = ClippedActivation(str(in_format), name=f"{layer.name}_in")(self.source(layer))
        kind = AILayerNorm if self.plan.norm == "ailayernorm" else IntegerLayerNorm
        twin = kind(in_format, choose_format(out, self.plan.activation_bits), name=layer.name)
        y = twin(x)
        twin.gamma.assign(layer.gamma if layer.scale else np.ones(values.shape[-1]))
        twin.beta.assign(layer.beta if layer.center else np.zeros(values.shape[-1]))
        return y

    def position(self, layer: PositionEmbedding) -> Any:
        weight = layer.embedding.numpy()
        twin = QPositionEmbedding(str(choose_format(weight, self.plan.bias_bits, cover=True)), name=layer.name)
        y = twin(self.source(layer))
        twin.set_weights([weight])
        return self.activation(y, self.values[id(layer.output)], f"{layer.name}_codes")

    def add(self, layer: keras.layers.Add) -> Any:
        y = keras.layers.Add(name=layer.name)([self.made[id(t)] for t in self.inputs(layer)])
        return self.activation(y, self.values[id(layer.output)], f"{layer.name}_codes", self.plan.residual_bits)

    def pool(self, layer: Any) -> Any:
        _refuse_options(layer, keepdims=False, data_format="channels_last")
        return self.activation(
            QMeanPool(name=layer.name)(self.source(layer)), self.values[id(layer.output)], f"{layer.name}_codes"
        )

    def relu(self, layer: Any) -> Any:
        _refuse_options(layer, max_value=None, negative_slope=0.0, threshold=0.0)
        return self.activation(self.source(layer), self.values[id(layer.output)], layer.name, signed=False)

    def activated(self, layer: keras.layers.Activation) -> Any:
        if _is_linear(layer):
            return self.source(layer)
        return self.activation(self.source(layer), self.values[id(layer.output)], layer.name, signed=False)

    def rearranged(self, layer: Any) -> Any:
        return type(layer).from_config(layer.get_config())(self.source(layer))


def _is_linear(layer: Any) -> bool:
    """Whether a layer's activation is none at all; else it is a ReLU.

    Raises:
        UnsupportedError: for another one.
    """
    if layer.activation not in (keras.activations.linear, keras.activations.relu):
        name = getattr(layer.activation, "__name__", type(layer.activation).__name__)
        raise UnsupportedError(
            f"{layer.name}: activation {name} has no integer twin; use linear or relu, by name (for a classifier, drop "
            "the final softmax: the largest logit is the same)"
        )
    return layer.activation is keras.activations.linear


def _refuse_options(layer: Any, **only: Any) -> None:
    """Refuse a layer whose options are not those that the integer twin has."""
    for name, value in only.items():
        received = getattr(layer, name)
        received = received.item() if isinstance(received, np.ndarray) else received
        if received != value:
            raise UnsupportedError(
                f"{layer.name}: {type(layer).__name__} option {name}={received!r} has no integer twin"
            )


_CONVERTERS: dict[type, Callable[[_Quantiser, Any], Any]] = {
    keras.layers.Dense: _Quantiser.dense,
    keras.layers.MultiHeadAttention: _Quantiser.attention,
    keras.layers.LayerNormalization: _Quantiser.norm,
    keras.layers.Add: _Quantiser.add,
    keras.layers.ReLU: _Quantiser.relu,
    keras.layers.Activation: _Quantiser.activated,
    keras.layers.GlobalAveragePooling1D: _Quantiser.pool,
    keras.layers.Reshape: _Quantiser.rearranged,
    keras.layers.Permute: _Quantiser.rearranged,
    keras.layers.Flatten: _Quantiser.rearranged,
    keras.layers.Dropout: lambda quantiser, layer: quantiser.source(layer),
    PositionEmbedding: _Quantiser.position,
}
