# SPDX-License-Identifier: Apache-2.0
"""A bank of single operators in one overlay: each can be tried on a board without another build.

Every operator is a kernel of its own behind one IP; a packet goes to one of them.  Registers besides those of every
model IP (`registers.OPERATOR_REGISTERS`)::

    SELECT         number of the operator that the next packet is for
    SAMPLES        samples of all operators since the reset, modulo 2**32

SELECT counts at the moment in which the IP takes the first word of a packet, and holds for the whole packet and its
answer; written while a packet is under way, it is for the next one.  The next packet is taken only when the answer has
left, so that answers keep their order.  A number beyond the last operator is not written: SELECT keeps its value.
Reset selects operator 0.  MODEL_ID is of the bank: of all its operators in their order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from hls4attn.models.errors import Hls4attnError, ModelFileError, SpecError
from hls4attn.overlays import registers, strict
from hls4attn.overlays.boards import Board
from hls4attn.overlays.design import MAX_NAME, KernelPort, OverlayDesign, check_model_id
from hls4attn.overlays.ports import StreamPort

OPERATORS_VLNV = "hls4attn:hls:operators:1.0"
KIND = "hls4attn-operators-design"
MAX_OPERATORS = 64
_SUFFIX = "_kernel"


@dataclass(frozen=True)
class Operator:
    """One operator of a bank.

    Args:
        name: by which it is called, unique in the bank: a letter, then letters, digits or underscores.
        title: what it is, in words.
        model_id: SHA-256 of its model file, 64 lower-case hexadecimal digits.
        input: a sample.
        output: its answer.

    Raises:
        SpecError: for values that cannot be built.
    """

    name: str
    title: str
    model_id: str
    input: StreamPort
    output: StreamPort

    def __post_init__(self) -> None:
        check_model_id(self.model_id)
        if len(self.name) > MAX_NAME - len(_SUFFIX):
            raise SpecError(
                f"An operator's name has at most {MAX_NAME - len(_SUFFIX)} characters. Received: {self.name!r:.80}"
            )
        _ = self.kernel  # checks the name

    @property
    def kernel(self) -> KernelPort:
        """Its HLS kernel."""
        return KernelPort(self.name + _SUFFIX, self.input, self.output)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return {
            "name": self.name,
            "title": self.title,
            "model_id": self.model_id,
            "input": self.input.to_dict(),
            "output": self.output.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: Any, where: str) -> Operator:
        """The inverse of `to_dict`; `where` names the source in errors.

        Raises:
            ModelFileError: for anything that is not exactly a valid operator.
        """
        kinds: dict[str, strict.Kind] = dict.fromkeys(("name", "title", "model_id"), str)
        data = strict.fields(data, where, {**kinds, "input": dict, "output": dict})
        ports = {side: StreamPort.from_dict(data[side], f"{where}: {side}") for side in ("input", "output")}
        try:
            return cls(data["name"], data["title"], data["model_id"], **ports)
        except SpecError as error:
            raise ModelFileError(f"{where}: {error}") from error


@dataclass(frozen=True)
class OperatorsDesign(OverlayDesign):
    """An overlay with a bank of operators; `of` makes one.

    `input` and `output` are the largest of all operators on the stream, so that buffers for them hold any.

    Args:
        operators: in the order of their numbers.

    Raises:
        SpecError: for values that cannot be built.
    """

    ip: str = "operators_0"
    operators: tuple[Operator, ...] = field(kw_only=True)

    kind: ClassVar[str] = KIND
    ip_vlnv: ClassVar[str] = OPERATORS_VLNV
    ip_registers: ClassVar[tuple[registers.Register, ...]] = registers.OPERATOR_REGISTERS
    further: ClassVar[Mapping[str, strict.Kind]] = {"operators": list}

    def __post_init__(self) -> None:
        if not 1 <= len(self.operators) <= MAX_OPERATORS:
            raise SpecError(f"A bank has 1 to {MAX_OPERATORS} operators. Received: {len(self.operators)}")
        names = [operator.name.lower() for operator in self.operators]
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise SpecError(f"Operators need different names, capitals aside. Received more than once: {doubled}")
        for name, value in _derived(self.operators).items():
            if getattr(self, name) != value:
                raise SpecError(f"{name} is not that of the bank. Expected: {value}. Received: {getattr(self, name)}")
        super().__post_init__()

    @classmethod
    def of(
        cls,
        operators: Iterable[Operator],
        board: Board,
        *,
        name: str = "operators",
        clock_mhz: float = 100.0,
        **options: Any,
    ) -> OperatorsDesign:
        """The overlay of some operators.

        Args:
            operators: in the order of their numbers.
            board: it is built for.
            name: of the overlay.
            clock_mhz: requested clock.
            **options: other fields of a design.

        Raises:
            SpecError: if there are none, or too many.
        """
        bank = tuple(operators)
        if not bank:
            raise SpecError("A bank needs operators. Received: none")
        return cls(name=name, board=board, clock_mhz=clock_mhz, operators=bank, **_derived(bank), **options)

    @property
    def kernels(self) -> tuple[KernelPort, ...]:
        """The HLS kernels behind the IP, in the order of their numbers."""
        return tuple(operator.kernel for operator in self.operators)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `from_dict` restores an equal object."""
        return super().to_dict() | {"operators": [operator.to_dict() for operator in self.operators]}

    @classmethod
    def _further_fields(cls, data: Mapping[str, Any], where: str) -> dict[str, Any]:
        found = []
        for number, item in enumerate(data["operators"]):
            place = f"{where}: operator {number}"
            try:
                found.append(Operator.from_dict(item, place))
            except ModelFileError:
                raise
            except (Hls4attnError, OverflowError) as error:
                raise ModelFileError(f"{place}: {error}") from error
        return {"operators": tuple(found)}


def _derived(operators: tuple[Operator, ...]) -> dict[str, Any]:
    """What a bank's operators say about the fields of every design."""
    identity = [[o.name, o.model_id, o.input.to_dict(), o.output.to_dict()] for o in operators]
    return {
        "model_id": hashlib.sha256(json.dumps(identity).encode()).hexdigest(),
        "input": max((o.input for o in operators), key=lambda port: port.sample_bytes),
        "output": max((o.output for o in operators), key=lambda port: port.sample_bytes),
    }
