# SPDX-License-Identifier: Apache-2.0
"""Gain-cell attention token by token as an ONNX model: the window goes in and comes out with every token."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

from hls4attn.models.errors import InputError, ToolError, UnsupportedError
from hls4attn.models.export.functions import DOMAIN, DOMAIN_VERSION, IR_VERSION, OPSET, functions
from hls4attn.models.formats import Codes
from hls4attn.models.operators import GainCellSpec

OP_TYPE = "GainCellStep"
TOKEN, STATE = ("q", "k", "v"), ("keys", "values", "pointer", "count")


def step_model(spec: GainCellSpec) -> onnx.ModelProto:
    """One token of every head, and the window, to the result and the next window; any runtime executes it.

    Inputs q, k, v and the output y hold codes as float32, ``(batch, heads, head_dim)``; keys and values are uint8
    codes, ``(batch, heads, window, head_dim)``, pointer (the slot written next) and count (tokens so far) int64.
    The first token meets zeros everywhere.

    Raises:
        UnsupportedError: for a spec with noise or spread.
    """
    if not spec.nonideal.ideal:
        raise UnsupportedError(f"{spec.op_type}: noise and spread have no exact integer meaning; set nonideal=IDEAL")
    after = [f"next_{name}" for name in STATE]
    node = helper.make_node(OP_TYPE, [*TOKEN, *STATE], ["y", *after], name="step", domain=DOMAIN)
    for key, value in spec.to_attributes().items():
        plain = numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
        node.attribute.append(helper.make_attribute(key, plain))
    token: list[Any] = ["batch", spec.heads, spec.head_dim]
    window: list[Any] = ["batch", spec.heads, spec.window, spec.head_dim]
    kinds: list[tuple[Any, list[Any]]] = [(TensorProto.UINT8, window)] * 2 + [(TensorProto.INT64, [])] * 2

    def infos(names: list[str], states: list[str]) -> list[onnx.ValueInfoProto]:
        tokens = [helper.make_tensor_value_info(n, TensorProto.FLOAT, token) for n in names]
        return tokens + [helper.make_tensor_value_info(n, *kind) for n, kind in zip(states, kinds, strict=True)]

    graph = helper.make_graph([node], "gaincell_step", infos(list(TOKEN), list(STATE)), infos(["y"], after))
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, DOMAIN_VERSION)]
    model = helper.make_model(
        graph,
        ir_version=IR_VERSION,
        opset_imports=opsets,
        functions=[functions()[OP_TYPE]],
        producer_name="hls4attn",
    )
    onnx.checker.check_model(model)
    return model


class GainCellSession:
    """A window that a stock onnxruntime carries from token to token.

    Args:
        model: what `step_model` made.
        batch: sequences side by side.

    Raises:
        ToolError: if onnxruntime is not installed.
        InputError: for a batch below 1.
    """

    def __init__(self, model: onnx.ModelProto, batch: int = 1) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ToolError('onnxruntime is not installed: pip install "hls4attn[convert]"') from error
        if batch < 1:
            raise InputError(f"batch must be at least 1. Received: {batch}")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        *_, (_, *window) = (i.shape for i in self._session.get_inputs() if i.name in ("keys", "values"))
        self._token = (batch, window[0], window[2])
        stored = np.zeros((batch, *window), np.uint8)
        self._state: list[Any] = [stored, stored, np.array(0, np.int64), np.array(0, np.int64)]

    @property
    def pointer(self) -> int:
        """Slot that the next token is written to."""
        return int(self._state[2])

    @property
    def count(self) -> int:
        """Tokens seen so far."""
        return int(self._state[3])

    def step(self, q: ArrayLike, k: ArrayLike, v: ArrayLike) -> Codes:
        """Result codes of one token, ``(batch, heads, head_dim)``.

        Raises:
            InputError: for a wrong shape or dtype.
        """
        feeds: dict[str, Any] = dict(zip(STATE, self._state, strict=True))
        for name, value in zip(TOKEN, (q, k, v), strict=True):
            a = np.asarray(value)
            if a.dtype.kind not in "iu" or a.shape != self._token or a.min() < 0:
                raise InputError(
                    f"{name} must be integer codes of shape {self._token}, 0 or more. Received: {a.dtype} {a.shape}"
                )
            feeds[name] = a.astype(np.float32)
        y, *self._state = self._session.run(None, feeds)
        return np.asarray(y).astype(np.int64)
