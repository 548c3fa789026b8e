# SPDX-License-Identifier: Apache-2.0
"""Squared ReLU attention as a package of its own: `register` makes every step of hls4attn know it."""

from __future__ import annotations

from typing import Any

from squared_relu.spec import SquaredReluSpec

__all__ = ["SquaredReluSpec", "register"]


def _layer(spec: SquaredReluSpec) -> Any:
    from squared_relu.layer import layer_of  # TensorFlow is imported where a Keras model is wanted

    return layer_of(spec)


def register() -> None:
    """Enter the operator; calling it again does nothing."""
    from hls4attn.host.extension import ScoreOperator, register_operator
    from hls4attn.host.operator_models import OperatorCase
    from hls4attn.models.formats import Fixed
    from squared_relu.function import BODY
    from squared_relu.hardware import KERNEL, OP, parameters, parts, unit

    def case(name: str, title: str, **options: Any) -> OperatorCase:
        return OperatorCase(name, title, lambda: SquaredReluSpec(Fixed(8, 3), (0.25, 0.3), **options))

    cases = (
        case("squared_relu", "8-bit scores"),
        case("squared_relu_causal", "8-bit scores, causal", causal=True),
    )
    register_operator(
        ScoreOperator(
            "squared-relu", SquaredReluSpec, BODY, KERNEL, OP, parameters, cases, layer=_layer, unit=unit, parts=parts
        )
    )
