# SPDX-License-Identifier: Apache-2.0
"""QKeras quantisers as fixed-point formats, and exact straight-through operations for our own layers."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from qkeras import get_quantizer
from qkeras.quantizers import BaseQuantizer, quantized_bits, quantized_relu

from hls4attn.models.errors import UnsupportedError
from hls4attn.models.formats import Fixed

#: Options that change a quantiser's arithmetic, with the only value that is exact in hardware.
_BITS_OPTIONS = {"use_stochastic_rounding": (False, 0), "qnoise_factor": (1.0,)}
_RELU_OPTIONS = {
    **_BITS_OPTIONS,
    "use_sigmoid": (False, 0),
    "negative_slope": (0.0,),
    "relu_upper_bound": (None,),
}


class FixedQuantizer(BaseQuantizer):  # type: ignore[misc]
    """A QKeras quantiser of any half-even, saturating fixed-point format.

    `quantized_bits` cannot do a step below ``2**-bits``: it raises 2 to a negative int32, which TensorFlow refuses.

    Args:
        format: a `Fixed` or its text.
    """

    def __init__(self, format: Fixed | str) -> None:
        super().__init__()
        self.format = Fixed.parse(format) if isinstance(format, str) else format
        if self.format.rounding != "half_even" or self.format.overflow == "wrap":
            raise UnsupportedError(f"A Keras quantiser rounds half to even and saturates. Received: {self.format}")

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Values on the format's grid; straight-through gradient."""
        return fake_quantise(x, self.format)

    def __str__(self) -> str:
        return str(self.format)

    @property
    def bits(self) -> int:
        """Width, under QKeras' name."""
        return self.format.width

    def max(self) -> float:
        """Largest value."""
        return float(self.format.to_real(self.format.max))

    def min(self) -> float:
        """Smallest value."""
        return float(self.format.to_real(self.format.min))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {"format": str(self.format)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> FixedQuantizer:
        """The inverse of `get_config`."""
        return cls(**config)


def quantiser_of(identifier: Any) -> Any:
    """A quantiser from itself, from QKeras' text for it, or from a format or its text."""
    if isinstance(identifier, Fixed) or (isinstance(identifier, str) and identifier.startswith(("fixed<", "ufixed<"))):
        return FixedQuantizer(identifier)
    try:
        return get_quantizer(identifier)
    except ValueError as error:  # Keras speaks of an activation function
        raise UnsupportedError(
            f"Unknown quantiser {identifier!r}; take quantized_bits(8,2,alpha=1), quantized_relu(8,2), or a format "
            "such as fixed<8,5>"
        ) from error


def fixed_of(quantizer: Any, where: str) -> Fixed:
    """The fixed-point format that a QKeras quantiser rounds to.

    ``quantized_bits(b, i, symmetric, keep_negative, alpha=1)`` has ``b - i - keep_negative`` fraction bits,
    ``quantized_relu(b, i)`` has ``b - i`` and is unsigned; both round half to even and saturate.

    Args:
        quantizer: a QKeras quantiser, its string form, or None.
        where: name of the layer and of the quantiser's role, for messages.

    Raises:
        UnsupportedError: for a missing quantiser or one that no single power-of-two step represents.
    """
    if quantizer is None:
        raise UnsupportedError(
            f"{where}: no quantiser; every value on hardware needs one, e.g. quantized_bits(8, 0, alpha=1)"
        )
    try:
        quantizer = quantiser_of(quantizer)
    except UnsupportedError as error:
        raise UnsupportedError(f"{where}: {error}") from error
    if isinstance(quantizer, FixedQuantizer):
        return quantizer.format
    if type(quantizer) is quantized_bits:
        return _fixed_of_bits(quantizer, where)
    if type(quantizer) is quantized_relu:
        _refuse_options(quantizer, _RELU_OPTIONS, where)
        if not quantizer.is_quantized_clip:
            raise UnsupportedError(f"{where}: quantized_relu with is_quantized_clip=False is not supported")
        return Fixed(int(quantizer.bits), int(quantizer.bits) - int(quantizer.integer), signed=False)
    raise UnsupportedError(
        f"{where}: quantiser {type(quantizer).__name__} cannot be represented; use quantized_bits or quantized_relu"
    )


def _fixed_of_bits(quantizer: Any, where: str) -> Fixed:
    _refuse_options(quantizer, _BITS_OPTIONS, where)
    alpha = quantizer.alpha
    if isinstance(alpha, str) or (alpha is not None and float(alpha) != 1.0):
        raise UnsupportedError(
            f"{where}: quantized_bits scale must be a power of two; use alpha=1. Received: alpha={alpha!r}"
        )
    signed = bool(quantizer.keep_negative)
    if int(quantizer.bits) - signed < 1:
        raise UnsupportedError(f"{where}: quantized_bits with {quantizer.bits} bit is binary, not fixed-point")
    return Fixed(
        int(quantizer.bits),
        int(quantizer.bits) - int(quantizer.integer) - signed,
        signed,
        overflow="saturate_symmetric" if quantizer.symmetric and signed else "saturate",
    )


def _refuse_options(quantizer: Any, options: dict[str, tuple[Any, ...]], where: str) -> None:
    for name, allowed in options.items():
        value = getattr(quantizer, name)
        value = value.numpy() if isinstance(value, tf.Variable) else value
        if value not in allowed:
            raise UnsupportedError(
                f"{where}: {type(quantizer).__name__} option {name}={value!r} cannot be represented exactly; "
                f"use {name}={allowed[0]!r}"
            )


def format_of(value: Any, where: str) -> Fixed:
    """A format given as `Fixed`, as its text, or as a QKeras quantiser (or its text).

    Raises:
        UnsupportedError: for a quantiser that no format represents.
    """
    return value if isinstance(value, Fixed) else fixed_of(value, where)


@tf.custom_gradient  # type: ignore[untyped-decorator]
def straight_through(exact: tf.Tensor, smooth: tf.Tensor) -> Any:
    """`exact` forward, bit for bit; the gradient flows to `smooth` alone.

    The usual ``smooth + stop_gradient(exact - smooth)`` rounds in float32 and may miss `exact` by an ulp.
    """

    def gradient(upstream: tf.Tensor) -> tuple[None, tf.Tensor]:
        return None, upstream

    del smooth
    return tf.identity(exact), gradient


def fake_quantise(x: tf.Tensor, fmt: Fixed) -> tf.Tensor:
    """Real values on the grid of a half-even, saturating format; straight-through gradient."""
    scaled = tf.clip_by_value(tf.round(x * 2.0**fmt.frac), float(fmt.min), float(fmt.max))
    return straight_through(scaled * fmt.step, x)
