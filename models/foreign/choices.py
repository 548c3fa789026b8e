# SPDX-License-Identifier: Apache-2.0
"""What an import is asked for, and what it reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import onnx
from numpy.typing import NDArray

from hls4attn.models.quantise.plan import BITS, NORMS, SCORES, check_options

SCALES = ("exact", "power-of-two")


@dataclass(frozen=True)
class ImportChoices:
    """How a foreign file becomes an integer model.

    Args:
        softmax: "softmax" (exact integers), "e2softmax" (two passes), "e2softmax-online" or "e2softmax-shift".
        layernorm: "layernorm" (exact integers) or "ailayernorm".
        scales: "exact" refuses every scale that is no power of two; "power-of-two" takes the one beside it with the
            smaller squared error.
        calibration: representative inputs of shape (samples, *input shape); with them a missing quantiser or an
            unquantised weight gets a format instead of being refused.
        activation_bits: of tensors without a quantiser, if there is calibration data.
        weight_bits: of weights without one.
        bias_bits: of biases and other added constants without one.
        samples: random inputs for the comparison with the file, where there is no calibration data.
        seed: of those inputs.

    Raises:
        SpecError: for an unknown operator or a width out of range.
    """

    softmax: str = "softmax"
    layernorm: str = "layernorm"
    scales: str = "exact"
    calibration: NDArray[Any] | None = None
    activation_bits: int = 8
    weight_bits: int = 8
    bias_bits: int = 12
    samples: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        known = {"softmax": SCORES, "layernorm": NORMS, "scales": SCALES}
        check_options(self, known, BITS | {"samples": (1, 4096), "seed": (0, (1 << 32) - 1)})

    def to_metadata(self) -> dict[str, str]:
        """The choices as properties of an ONNX file."""
        names: tuple[str, ...] = ("softmax", "layernorm", "scales")
        if self.calibration is not None:
            names = (*names, "activation_bits", "weight_bits", "bias_bits")
        return {f"hls4attn.import.{name}": str(getattr(self, name)) for name in names}


@dataclass(frozen=True)
class Change:
    """One thing that is not in the new file as it was in the old one.

    Attributes:
        node: name of the ONNX node.
        op: its operator.
        became: what became of it.
        exact: whether that computes the same numbers.
    """

    node: str
    op: str
    became: str
    exact: bool = True

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Distance:
    """Integer model against the file's own float arithmetic, on the same inputs.

    Attributes:
        samples: inputs compared.
        inputs: what they are.
        largest: largest difference of an output, in its real unit.
        mean: mean difference.
        step: step of the output's format: `largest / step` are output steps.
        agreement: share of the rows whose largest output is at the same place.
        equal: share of the outputs that are the same number.
    """

    samples: int
    inputs: str
    largest: float
    mean: float
    step: float
    agreement: float
    equal: float

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"largest {self.largest / self.step:.1f} and mean {self.mean / self.step:.3f} output steps of "
            f"{self.step:g}, {self.equal:.1%} of the outputs equal, same largest output in {self.agreement:.1%} of the "
            f"rows ({self.samples} {self.inputs})"
        )


@dataclass(frozen=True)
class Imported:
    """Result of an import.

    Attributes:
        model: the file in this package's dialect.
        changes: everything that is not as it was.
        distance: to the original.
        statistics: further numbers that the verb prints.
    """

    model: onnx.ModelProto
    changes: tuple[Change, ...]
    distance: Distance
    statistics: Mapping[str, Any] = field(default_factory=dict)
