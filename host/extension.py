# SPDX-License-Identifier: Apache-2.0
"""Score functions of other packages: one entry each, and all steps know them.

`hls4attn.host.installed` finds those of installed packages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from hls4attn.hls.design import Kernel, Parameters
from hls4attn.hls.rtl.unit import FURTHER_UNITS, RtlUnit
from hls4attn.hls.scores import add_score_kernel, check_score_kernel
from hls4attn.hls.stream.resources import Parts
from hls4attn.hls.stream.units import FURTHER_PARTS
from hls4attn.host.operator_models import OPERATORS, OperatorCase
from hls4attn.models.errors import SpecError, ToolError
from hls4attn.models.export.functions import add_function, check_function
from hls4attn.models.export.keras_archive import FURTHER_LAYERS
from hls4attn.models.operators.base import ScoreSpec, register_score, score_types

#: Makers of Keras layers by the spec's class, for `verify --operator`.
KERAS_LAYERS: dict[type, Callable[[Any], Any]] = {}

_REGISTERED: dict[str, ScoreOperator] = {}


@dataclass(frozen=True)
class ScoreOperator:
    """A score function from spec to hardware.

    Args:
        name: in ``verify --operator NAME``.
        spec: its spec, a `ScoreSpec` with the integer reference.
        function: body of the ONNX function, in ONNX's text form.
        kernel: the C++ kernel, its `folder` included.
        op: name of the hardware operator, ``Attn...``.
        parameters: from a spec, (heads, rows, cols) and the node's name to members and tables of the kernel.
        cases: typical configurations, which `verify` climbs the ladder with.
        layer: makes the Keras layer of a spec, weights set; None if there is none.
        unit: makes the streaming unit in Verilog of a spec and a longest row; None if there is none.
        parts: adds what the kernel is built from, from members and scores at once; None for no estimate.
    """

    name: str
    spec: type[Any]
    function: str
    kernel: Kernel
    op: str
    parameters: Callable[[Any, tuple[int, ...], str], Parameters]
    cases: tuple[OperatorCase, ...]
    layer: Callable[[Any], Any] | None = None
    unit: Callable[[Any, int], RtlUnit] | None = None
    parts: Callable[[Parts, Mapping[str, int], int], None] | None = None


def register_operator(operator: ScoreOperator) -> None:
    """Make a score function known to every step, or to none; doing it again changes nothing.

    Raises:
        SpecError: for a name that is taken, a body or a header that does not fit, or a case of another spec; nothing
            is registered then.
    """
    known = _REGISTERED.get(operator.name)
    if known is not None and known.spec is operator.spec and known.kernel == operator.kernel:
        return
    _check(operator)
    add_function(operator.spec.op_type, operator.function)
    add_score_kernel(operator.spec, operator.op, operator.kernel, operator.parameters)
    register_score(operator.spec)
    if operator.layer is not None:
        KERAS_LAYERS[operator.spec] = operator.layer
        FURTHER_LAYERS.append(partial(_make_layer, operator, operator.layer))
    if operator.unit is not None:
        FURTHER_UNITS[operator.spec.op_type] = operator.unit
    if operator.parts is not None:
        FURTHER_PARTS[operator.op.removeprefix("Attn")] = operator.parts
    OPERATORS[operator.name] = operator.cases
    _REGISTERED[operator.name] = operator


def _make_layer(operator: ScoreOperator, layer: Callable[[Any], Any]) -> None:
    """Make a layer of the operator's first case, so that its module is imported and Keras knows its class."""
    try:
        layer(operator.cases[0].spec())
    except Exception as error:  # the other package may fail in any way
        raise ToolError(f"{operator.name}: its Keras layer does not load: {error}; repair or remove it") from error


def _check(operator: ScoreOperator) -> None:
    """Refuse an operator before anything of it is registered."""
    if operator.name in OPERATORS:
        raise SpecError(f"{operator.name}: there is another operator of that name; choose another name")
    if not operator.cases:
        raise SpecError(f"{operator.name}: has no cases; verify needs one or more")
    for case in operator.cases:
        spec = case.spec()
        if type(spec) is not operator.spec or not isinstance(spec, ScoreSpec):
            raise SpecError(f"{operator.name}: case {case.name} is not a {operator.spec.__name__} that is a ScoreSpec")
    if operator.kernel.operands != 1:
        raise SpecError(f"{operator.name}: a score function has one operand. Received: {operator.kernel.operands}")
    if operator.spec.op_type in score_types():
        raise SpecError(f"{operator.name}: there is another score function {operator.spec.op_type}; rename its op_type")
    check_function(operator.spec.op_type, operator.function)
    check_score_kernel(operator.op, operator.kernel)
