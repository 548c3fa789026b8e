# SPDX-License-Identifier: Apache-2.0
"""The character GPT: pre-normalisation blocks around any attention, in float or with 8-bit integers.

All variants have the same weights (embedding, projections, normalisation) under the same names, so that those of one
start the training of another; only what is inside the attention differs.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from qkeras import QDense
from tensorflow import keras
from tensorflow.keras.layers import Add, Dense, Input, ReLU

from hls4attn.models.errors import SpecError
from hls4attn.models.layers import (
    ClippedActivation,
    IntegerLayerNorm,
    PositionEmbedding,
    QEmbedding,
    QPositionEmbedding,
)
from hls4attn.models.zoo.char_gpt.attention import ATTENTIONS
from hls4attn.models.zoo.char_gpt.formats import BIAS, BIT, HIDDEN, KERNEL, LOGITS, RESIDUAL, STREAM, TABLE

#: The attention of the model that is float throughout.
FLOAT = "softmax"
#: Standard deviation of the initial table: many steps of its format.
EMBEDDING_SPREAD = 0.2
MAX_LAYERS, HEAD_DIMS, WINDOWS = 4, (32, 64), (64, 256)


@dataclass(frozen=True)
class GptSize:
    """Sizes of a character GPT.

    Args:
        layers: blocks; 1 to 4.
        heads: of each attention.
        head_dim: width of a head; 32 to 64.
        window: characters that it sees; 64 to 256.

    Raises:
        SpecError: for a size out of range.
    """

    layers: int = 2
    heads: int = 2
    head_dim: int = 32
    window: int = 64

    def __post_init__(self) -> None:
        for name, low, high in (
            ("layers", 1, MAX_LAYERS),
            ("heads", 1, 8),
            ("head_dim", *HEAD_DIMS),
            ("window", *WINDOWS),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or not low <= value <= high:
                raise SpecError(f"char-gpt: {name} must be {low} to {high}. Received: {value!r}")

    @property
    def width(self) -> int:
        """Width of the model."""
        return self.heads * self.head_dim

    def to_json(self) -> dict[str, int]:
        """Plain values."""
        return asdict(self)


def char_gpt(
    attention: str, vocabulary: int, size: GptSize | None = None, one_hot: bool = False, **cells: Any
) -> keras.Model:
    """The untrained model: codes ``(batch, window)`` to logits ``(batch, window, vocabulary)`` of the next character.

    "softmax" is float throughout; all others have 8-bit projections, integer LayerNorm and 12-bit residual sums.

    Args:
        attention: a name in `ATTENTIONS`.
        vocabulary: number of characters.
        size: of the model.
        one_hot: take one-hot rows ``(batch, window, vocabulary)`` of one bit, which hardware takes, in place of codes.
        **cells: for gain cells, fields of their spec such as `leak`; `nonideal` gets another seed in every block.

    Raises:
        SpecError: for an unknown attention.
    """
    if attention not in ATTENTIONS:
        raise SpecError(f"Unknown attention {attention!r}; known: {', '.join(ATTENTIONS)}")
    return _Builder(attention, vocabulary, size or GptSize(), cells).model(one_hot)


class _Builder:
    def __init__(self, attention: str, vocabulary: int, size: GptSize, cells: dict[str, Any]) -> None:
        self.attention, self.vocabulary, self.size = attention, vocabulary, size
        self.cells = {"window": size.window} | cells if attention.startswith("gaincell") else cells
        self.quantised = attention != FLOAT

    def model(self, one_hot: bool) -> keras.Model:
        if one_hot:
            text = Input((self.size.window, self.vocabulary), name="text")
            codes = self.activation(text, BIT, "bits")
        else:
            text = codes = Input((self.size.window,), dtype="int32", name="codes")
        start = keras.initializers.RandomNormal(stddev=EMBEDDING_SPREAD)
        table = (self.vocabulary, self.size.width, TABLE, self.quantised)
        x = QEmbedding(*table, embeddings_initializer=start, name="characters")(codes)
        x = (QPositionEmbedding(TABLE, name="position") if self.quantised else PositionEmbedding(name="position"))(x)
        x = self.activation(x, RESIDUAL, "embedded")
        for block in range(self.size.layers):
            x = self.block(x, block)
        logits = self.activation(self.dense(self.norm(x, "norm"), self.vocabulary, "head"), LOGITS, "logits")
        return keras.Model(text, logits, name=f"char_gpt_{self.attention.replace('-', '_')}")

    def block(self, x: Any, number: int) -> Any:
        name, cells = f"block{number}", dict(self.cells)
        if "nonideal" in cells:
            cells["nonideal"] = replace(cells["nonideal"], seed=cells["nonideal"].seed * MAX_LAYERS + number)
        make = ATTENTIONS[self.attention]
        y = make(self.size.heads, self.size.head_dim, f"{name}_attention", **cells)(self.norm(x, f"{name}_norm0"))
        x = self.activation(Add(name=f"{name}_sum0")([x, y]), RESIDUAL, f"{name}_residual0")
        y = self.dense(self.norm(x, f"{name}_norm1"), 4 * self.size.width, f"{name}_expand")
        y = self.activation(y, HIDDEN, f"{name}_hidden") if self.quantised else ReLU(name=f"{name}_hidden")(y)
        y = self.activation(self.dense(y, self.size.width, f"{name}_contract"), STREAM, f"{name}_mlp")
        return self.activation(Add(name=f"{name}_sum1")([x, y]), RESIDUAL, f"{name}_residual1")

    def norm(self, x: Any, name: str) -> Any:
        return IntegerLayerNorm(RESIDUAL, STREAM, quantised=self.quantised, name=name)(x)

    def dense(self, x: Any, units: int, name: str) -> Any:
        if not self.quantised:
            return Dense(units, name=name)(x)
        return QDense(
            units, kernel_quantizer=KERNEL, bias_quantizer=BIAS, kernel_initializer="glorot_uniform", name=name
        )(x)

    def activation(self, x: Any, fmt: str, name: str) -> Any:
        return ClippedActivation(fmt, name=name)(x) if self.quantised else x


def copy_weights(source: keras.Model, target: keras.Model) -> list[str]:
    """Give `target` every weight of `source` that it has too; the names of the others in `target`.

    Raises:
        SpecError: if two weights of one name have different shapes.
    """
    have = {v.name: v for v in source.weights}
    missing = []
    for variable in target.weights:
        found = have.get(variable.name)
        if found is None:
            missing.append(variable.name)
        elif found.shape != variable.shape:
            raise SpecError(f"{variable.name}: shape {found.shape} does not fit {variable.shape}")
        else:
            variable.assign(found)
    return missing
