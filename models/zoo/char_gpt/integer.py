# SPDX-License-Identifier: Apache-2.0
"""The character GPT on gain cells in plain integers, with its attention wherever the cells are: here or on a board.

The same codes as the Keras model gives, token by token: a token that was computed is never computed again while the
window holds it, since keys and values stay in the cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hls4attn.models.errors import InputError, UnsupportedError
from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.operators import GainCellSpec, NormSpec


class LayerCells(Protocol):
    """Gain cells of all layers: `ReferenceCells`, or the driver of a board."""

    def step(self, q: ArrayLike, k: ArrayLike, v: ArrayLike, layer: int = 0) -> Codes:
        """Sums of tokens ``(tokens, heads, head_dim)`` that follow those before."""

    def clear(self) -> None:
        """Forget all tokens of all layers."""


class ReferenceCells:
    """The normative integers of `GainCellSpec`, of everything since `clear`.

    Args:
        specs: one a layer.
    """

    def __init__(self, specs: Sequence[GainCellSpec]) -> None:
        self._specs = tuple(specs)
        self.clear()

    def clear(self) -> None:
        """Forget all tokens of all layers."""
        self._seen: list[Codes] = [np.empty((3, s.heads, 0, s.head_dim), np.int64) for s in self._specs]

    def step(self, q: ArrayLike, k: ArrayLike, v: ArrayLike, layer: int = 0) -> Codes:
        """Sums of tokens ``(tokens, heads, head_dim)`` that follow those before."""
        new = np.stack([q, k, v]).swapaxes(1, 2)
        seen = np.concatenate([self._seen[layer], new], axis=2)
        sums = self._specs[layer].reference(*seen)
        self._seen[layer] = seen
        return sums[:, -new.shape[2] :].swapaxes(0, 1)


@dataclass(frozen=True, eq=False)
class Linear:
    """``x W + b`` on codes, rounded to a format.

    Args:
        kernel: codes, as floats: every sum of products is an integer below 2**53.
        bias: codes with `frac` fraction bits.
        frac: of the products.
        out: format of the result.
    """

    kernel: NDArray[np.float64]
    bias: Codes
    frac: int
    out: Fixed

    @classmethod
    def of(cls, kernel: Codes, bias: Codes, formats: tuple[Fixed, Fixed], in_frac: int, out: Fixed) -> Linear:
        """From integer weights and their formats."""
        frac = in_frac + formats[0].frac
        if frac < formats[1].frac:
            raise UnsupportedError(f"Bias {formats[1]} is finer than the products, which have {frac} fraction bits")
        return cls(kernel.astype(np.float64), bias << (frac - formats[1].frac), frac, out)

    def __call__(self, x: Codes) -> Codes:
        """Codes in `out`."""
        return self.out.requantise((x.astype(np.float64) @ self.kernel).astype(np.int64) + self.bias, self.frac)


@dataclass(frozen=True, eq=False)
class IntegerBlock:
    """A block: normalisation, attention in gain cells, normalisation, two linear maps."""

    spec: GainCellSpec
    norms: tuple[NormSpec, NormSpec]
    q: Linear
    k: Linear
    v: Linear
    o: Linear
    expand: Linear
    contract: Linear
    residuals: tuple[Fixed, Fixed]

    def __call__(self, x: Codes, x_frac: int, cells: LayerCells, layer: int) -> Codes:
        """Codes of ``(tokens, width)`` behind the block."""
        spec, h = self.spec, self.norms[0].reference(x)
        q, k, v = (
            np.minimum(project(h), levels - 1).reshape(-1, spec.heads, spec.head_dim)
            for project, levels in ((self.q, spec.q_levels), (self.k, spec.k_levels), (self.v, spec.v_levels))
        )
        sums = cells.step(q, k, v, layer).reshape(len(x), -1)
        x = _sum(x, x_frac, self.o(sums), self.o.out.frac, self.residuals[0])
        y = self.contract(self.expand(self.norms[1].reference(x)))
        return _sum(x, self.residuals[0].frac, y, self.contract.out.frac, self.residuals[1])


def _sum(x: Codes, x_frac: int, y: Codes, y_frac: int, out: Fixed) -> Codes:
    frac = max(x_frac, y_frac)
    return out.requantise((x << (frac - x_frac)) + (y << (frac - y_frac)), frac)


@dataclass(frozen=True, eq=False)
class IntegerGpt:
    """A character GPT on gain cells, with all weights as codes.

    Attributes:
        characters: table, a row a character.
        positions: a row a position.
        fracs: fraction bits of these two.
        embedded: format of their sum.
        blocks: in order.
        norm: before the head.
        head: to logits.
    """

    characters: Codes
    positions: Codes
    fracs: tuple[int, int]
    embedded: Fixed
    blocks: tuple[IntegerBlock, ...]
    norm: NormSpec
    head: Linear

    @classmethod
    def of(cls, model: Any) -> IntegerGpt:
        """The integers of a trained Keras model from `char_gpt`.

        Raises:
            UnsupportedError: if its attention is not one of gain cells.
        """
        from hls4attn.models.layers.quantizers import fixed_of
        from hls4attn.models.zoo.char_gpt.gaincell import BIASES, KERNELS, QGainCellAttention

        def layer(name: str) -> Any:
            return model.get_layer(name)

        def fmt(name: str) -> Fixed:
            return fixed_of(layer(name).quantizer, name)

        def dense(name: str, source: Fixed, out: str) -> Linear:
            d = layer(name)
            formats = fixed_of(d.kernel_quantizer_internal, name), fixed_of(d.bias_quantizer_internal, name)
            kernel, bias = (f.quantise(w.numpy()) for f, w in zip(formats, (d.kernel, d.bias), strict=True))
            return Linear.of(kernel, bias, formats, source.frac, fmt(out))

        def block(name: str) -> IntegerBlock:
            attention = layer(f"{name}_attention")
            if not isinstance(attention, QGainCellAttention):
                raise UnsupportedError(
                    f"{model.name}: its attention is {type(attention).__name__}, which is not in gain cells; train "
                    "char-gpt with --attention gaincell"
                )
            spec, norms = attention.spec(), (layer(f"{name}_norm0").spec(), layer(f"{name}_norm1").spec())
            fracs = dict.fromkeys("qkv", norms[0].out_format.frac) | {"o": 0}
            outs = dict(zip("qkv", spec.in_formats, strict=True)) | {"o": fixed_of(attention.out_act.quantizer, name)}
            maps = {n: Linear.of(*attention.codes(n), (KERNELS[n], BIASES[n]), fracs[n], outs[n]) for n in "qkvo"}
            return IntegerBlock(
                spec,
                norms,
                **maps,
                expand=dense(f"{name}_expand", norms[1].out_format, f"{name}_hidden"),
                contract=dense(f"{name}_contract", fmt(f"{name}_hidden"), f"{name}_mlp"),
                residuals=(fmt(f"{name}_residual0"), fmt(f"{name}_residual1")),
            )

        names = [n.name.removesuffix("_attention") for n in model.layers if n.name.endswith("_attention")]
        blocks = tuple(block(name) for name in names)
        table, position, norm = layer("characters"), layer("position"), layer("norm").spec()
        return cls(
            table.codes(),
            position.codes(),
            (table.format.frac, position.format.frac),
            fmt("embedded"),
            blocks,
            norm,
            dense("head", norm.out_format, "logits"),
        )

    @property
    def window(self) -> int:
        """Positions that it knows."""
        return len(self.positions)

    @property
    def specs(self) -> tuple[GainCellSpec, ...]:
        """The gain cells of each block."""
        return tuple(block.spec for block in self.blocks)

    def logits(self, codes: NDArray[Any], cells: LayerCells, start: int = 0) -> Codes:
        """Logit codes ``(tokens, vocabulary)`` of characters that follow the `start` ones which the cells hold."""
        if start + len(codes) > self.window:
            raise InputError(f"The model sees {self.window} characters. Received: {start + len(codes)}")
        positions = self.positions[start : start + len(codes)]
        x = _sum(self.characters[codes], self.fracs[0], positions, self.fracs[1], self.embedded)
        frac = self.embedded.frac
        for number, block in enumerate(self.blocks):
            x = block(x, frac, cells, number)
            frac = block.residuals[1].frac
        return self.head(self.norm.reference(x))


class Reader:
    """What comes after some characters; those that the cells hold already are not computed again.

    Args:
        gpt: the model.
        cells: of its layers; nobody else uses them meanwhile.

    Attributes:
        tokens: how many went through each layer so far.
    """

    def __init__(self, gpt: IntegerGpt, cells: LayerCells) -> None:
        self._gpt, self._cells = gpt, cells
        self._held: NDArray[Any] | None = None
        self.tokens = 0

    def __call__(self, codes: NDArray[Any]) -> NDArray[np.float64]:
        """Logits of the next character."""
        held, self._held = self._held, None  # an error below leaves it unknown what the cells hold
        if held is None or len(held) >= len(codes) or not np.array_equal(held, codes[: len(held)]):
            self._cells.clear()
            held = codes[:0]
        logits = self._gpt.logits(codes[len(held) :], self._cells, len(held))
        self.tokens += len(codes) - len(held)
        self._held = np.array(codes)
        return self._gpt.head.out.to_real(logits[-1])
