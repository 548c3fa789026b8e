# SPDX-License-Identifier: Apache-2.0
"""What SOLE's operators do to a pre-trained encoder that was never trained for them.

Every configuration runs the same forward pass on the same sentences; only softmax, LayerNorm or both are replaced,
in every layer.  The linear maps stay float32, so that all of the distance is the operators'.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hls4attn.models.errors import InputError
from hls4attn.models.zoo.minilm.calibration import Calibration, calibrate
from hls4attn.models.zoo.minilm.encoder import Float32, Norm, Softmax, embed, float_norm, float_softmax
from hls4attn.models.zoo.minilm.metrics import Agreement, agreement
from hls4attn.models.zoo.minilm.quantised import (
    QuantisedInputNorm,
    QuantisedNorm,
    QuantisedSoftmax,
    Summary,
    statistics_of,
)
from hls4attn.models.zoo.minilm.weights import MiniLM, load_minilm

#: Disjoint groups of evaluation sentences; the spread is between them.
GROUPS = 3
#: Nearest neighbours and rank correlations of fewer sentences say nothing.
MIN_GROUP = 10


@dataclass(frozen=True)
class Row:
    """Result of one configuration.

    Attributes:
        name: of the configuration.
        meaning: what it computes.
        agreement: its sentence embeddings against the float encoder's.
        row_sums: sums of the rows of its probabilities, where softmax is replaced.
        std_error: relative error of the standard deviation that normalises a token, where it is estimated.
        clipped_scores: share of scores outside the calibrated range.
        clipped_norm_inputs: share of normalisation inputs outside the calibrated range.
    """

    name: str
    meaning: str
    agreement: Agreement
    row_sums: Summary | None = None
    std_error: Summary | None = None
    clipped_scores: float | None = None
    clipped_norm_inputs: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values, named."""
        named = {
            "agreement": {
                key: value._asdict() if hasattr(value, "_asdict") else value
                for key, value in self.agreement._asdict().items()
            },
            "row_sums": self.row_sums._asdict() if self.row_sums else None,
            "std_error": self.std_error._asdict() if self.std_error else None,
        }
        return asdict(self) | named


@dataclass(frozen=True)
class Configuration:
    """Which operators the forward pass uses; None stays float.

    Args:
        name: short name.
        meaning: one line.
        softmax: builds the softmax from a calibration.
        norm: builds the normalisation from a calibration.
    """

    name: str
    meaning: str
    softmax: Callable[[Calibration], Softmax] | None = None
    norm: Callable[[Calibration], Norm] | None = None


def _e2(operator: bool = True, **parameters: Any) -> Callable[[Calibration], Softmax]:
    return lambda c: QuantisedSoftmax([c.e2softmax(n, **parameters) for n in range(len(c.scores))], operator)


def _exact_softmax(c: Calibration) -> Softmax:
    return QuantisedSoftmax([c.softmax(n) for n in range(len(c.scores))])


def _ai(**parameters: Any) -> Callable[[Calibration], Norm]:
    return lambda c: QuantisedNorm([c.ailayernorm(n, **parameters) for n in range(len(c.inputs))])


def _exact_norm(c: Calibration) -> Norm:
    return QuantisedNorm([c.layernorm(n) for n in range(len(c.inputs))])


def _ptf_input(c: Calibration) -> Norm:
    return QuantisedInputNorm(c.encoder, [c.ailayernorm(n) for n in range(len(c.inputs))])


_WIDE_NORM: dict[str, Any] = {"out_bits": 16, "gamma_bits": 12}
_WIDE_SOFTMAX: dict[str, Any] = {"out_width": 16, "out_frac": 15}
CONFIGURATIONS = (
    Configuration("fp32", "float softmax, float LayerNorm: the reference itself"),
    Configuration("int8 scores", "float softmax of 8-bit scores", _e2(operator=False)),
    Configuration("integer softmax", "exact integer softmax, 8 bits in and out", _exact_softmax),
    Configuration("E2Softmax", "two-pass, 8 bits in and out", _e2()),
    Configuration("E2Softmax online 32", "slices of 32 as in the paper", _e2(slice_length=32)),
    Configuration("E2Softmax online 8", "slices of 8: several in every sentence", _e2(slice_length=8)),
    Configuration("E2Softmax 16-bit out", "two-pass, without the 8-bit output grid", _e2(**_WIDE_SOFTMAX)),
    Configuration("PTF input", "float LayerNorm of AILayerNorm's 8-bit input", norm=_ptf_input),
    Configuration("integer LayerNorm", "exact integer LayerNorm, 8-bit output", norm=_exact_norm),
    Configuration("AILayerNorm", "8-bit output, input step a power of two", norm=_ai()),
    Configuration("AILayerNorm free step", "8-bit output, any input step", norm=_ai(power_of_two=False)),
    Configuration("AILayerNorm lut32", "32-entry table of squares, 8-bit output", norm=_ai(squares="lut32")),
    Configuration("AILayerNorm exact sq.", "exact squares, 8-bit output", norm=_ai(squares="exact")),
    Configuration("AILayerNorm 16-bit out", "16-bit output, 12-bit gamma", norm=_ai(**_WIDE_NORM)),
    Configuration("integer both", "exact integer softmax and LayerNorm", _exact_softmax, _exact_norm),
    Configuration("SOLE", "E2Softmax and AILayerNorm, 8-bit outputs", _e2(), _ai()),
    Configuration(
        "SOLE 16-bit out",
        "E2Softmax and AILayerNorm, 16-bit outputs, 12-bit gamma",
        _e2(**_WIDE_SOFTMAX),
        _ai(**_WIDE_NORM),
    ),
)


def evidence(
    sentences: Sequence[str],
    calibration: int,
    evaluation: int,
    seed: int,
    on_progress: Callable[[str, int, int], None] | None = None,
    model: MiniLM | None = None,
) -> list[Row]:
    """Run every configuration on sentences drawn at random; none is used both to calibrate and to evaluate.

    Args:
        sentences: to draw from.
        calibration: how many calibrate the number formats.
        evaluation: how many are embedded and compared, in `GROUPS` disjoint groups.
        seed: of the draw.
        on_progress: called with (configuration, finished ones, all).
        model: the installed one unless given.

    Raises:
        InputError: for too few sentences.
        ToolError: if the model's package is not installed.
    """
    drawn = draw(sentences, calibration, evaluation, seed)
    model = model or load_minilm()
    tokens = model.tokenise(drawn)
    encoder, held_out = model.encoder, tokens[calibration:]
    calibrated = calibrate(encoder, tokens[:calibration])
    groups: list[NDArray[np.int64]] = np.array_split(np.arange(evaluation), GROUPS)
    reference = embed(encoder, held_out, float_softmax, float_norm(encoder))
    # what the figures are worth: the same measures between sentences that have nothing to do with each other
    other = np.roll(reference, 1, axis=0)
    rows = [Row("another sentence", "float embeddings of the wrong sentences", agreement(other, reference, groups))]
    for done, configuration in enumerate(CONFIGURATIONS):
        if on_progress:
            on_progress(configuration.name, done, len(CONFIGURATIONS))
        rows.append(_run(configuration, calibrated, held_out, reference, groups))
    return rows


def draw(sentences: Sequence[str], calibration: int, evaluation: int, seed: int) -> list[str]:
    """Calibration sentences, then evaluation sentences, without repetition.

    Raises:
        InputError: for too few sentences or a count that is too small.
    """
    if calibration < 1 or evaluation < GROUPS * MIN_GROUP:
        raise InputError(
            f"Takes at least 1 sentence to calibrate and {GROUPS * MIN_GROUP} to evaluate. "
            f"Received: {calibration} and {evaluation}"
        )
    distinct = list(dict.fromkeys(sentences))
    if len(distinct) < calibration + evaluation:
        raise InputError(
            f"The text has {len(distinct)} different sentences, {calibration} + {evaluation} are needed; give a longer "
            "text or evaluate fewer"
        )
    chosen = np.random.default_rng(seed).permutation(len(distinct))[: calibration + evaluation]
    return [distinct[n] for n in chosen]


def _run(
    configuration: Configuration,
    calibrated: Calibration,
    tokens: Sequence[Sequence[int]],
    reference: Float32,
    groups: Sequence[NDArray[np.int64]],
) -> Row:
    softmax: Softmax = configuration.softmax(calibrated) if configuration.softmax else float_softmax
    norm: Norm = configuration.norm(calibrated) if configuration.norm else float_norm(calibrated.encoder)
    embeddings = embed(calibrated.encoder, tokens, softmax, norm)
    of_softmax, of_norm = statistics_of(softmax), statistics_of(norm)
    return Row(
        configuration.name,
        configuration.meaning,
        agreement(embeddings, reference, groups),
        row_sums=of_softmax.summary,
        std_error=of_norm.summary,
        clipped_scores=of_softmax.clipped,
        clipped_norm_inputs=of_norm.clipped,
    )
