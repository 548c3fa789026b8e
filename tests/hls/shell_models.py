# SPDX-License-Identifier: Apache-2.0
"""Overlays for the tests of the shell, small enough that all their limits are met, and what their kernels compute."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from hls4attn.hls.shell import CellConstants, Shell
from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.operators import GainCellSpec
from hls4attn.overlays.boards import board
from hls4attn.overlays.design import OverlayDesign
from hls4attn.overlays.gaincell import GainCellDesign
from hls4attn.overlays.operators import Operator, OperatorsDesign
from hls4attn.overlays.packing import pack, unpack
from hls4attn.overlays.ports import StreamPort

Compute = Callable[[Codes], Codes]


def _design(name: str, source: StreamPort, answer: StreamPort) -> OverlayDesign:
    identity = hashlib.sha256(name.encode()).hexdigest()
    return OverlayDesign(name, board("pynq-z2"), 100.0, identity, source, answer)


def mixed(design: OverlayDesign) -> Compute:
    """A function in which every code of an answer depends on every code of its sample."""
    low, span = design.output.format.min, design.output.format.max - design.output.format.min + 1

    def compute(codes: Codes) -> Codes:
        digests = [zlib.crc32(sample.astype("<i8").tobytes()) for sample in codes]
        numbers = np.array(digests)[:, None] * np.arange(3, 3 + 2 * design.output.elements, 2)
        return (numbers % span + low).reshape(len(codes), *design.output.shape)

    return compute


#: Stream words in and out: 2 and 3, 1 and 1, 3 and 2.  Any word is a legal input of all.
DESIGNS = (
    _design("plain", StreamPort((8,), Fixed(8, 4)), StreamPort((3, 2), Fixed(12, 6))),
    _design("single", StreamPort((4,), Fixed(8, 4, signed=False)), StreamPort((2,), Fixed(9, 4))),
    _design("wide", StreamPort((3,), Fixed(32, 4)), StreamPort((2,), Fixed(32, 4))),
)
BANK = OperatorsDesign.of(
    [Operator(d.name, d.name, d.model_id, d.input, d.output) for d in DESIGNS], board("pynq-z2"), name="bank"
)

SPEC = GainCellSpec(
    heads=1, head_dim=6, window=4, tile=2, q_levels=5, k_levels=3, v_levels=2, score_saturation=30, context_saturation=8
)
CELLS = GainCellDesign.of(SPEC, board("pynq-z2"), layers=3, current_width=12)
#: Tokens and answers of one word, one slot.
LEAST = GainCellDesign.of(replace(SPEC, window=1, tile=1, head_dim=1), board("pynq-z2"), layers=2, current_width=32)


class RememberingCells:
    """In place of gain-cell heads: answers that depend on the token, on all tokens in the window and on the table."""

    def __init__(self, design: GainCellDesign) -> None:
        self.design = design
        self.table = design.table
        self.tokens: list[bytes] = []

    @property
    def count(self) -> int:
        return len(self.tokens)

    def clear(self) -> None:
        self.tokens.clear()

    def load_table(self, keys: Codes, values: Codes | None = None) -> None:
        self.table = keys if values is None else np.concatenate([keys, values], axis=1)

    def cycles(self, tokens: int = 1) -> Codes:
        return np.ones(tokens, dtype=np.int64)

    def step(self, q: Codes, k: Codes, v: Codes) -> Codes:
        return np.stack([self._token(np.stack(token)) for token in zip(q, k, v, strict=True)])

    def _token(self, token: Codes) -> Codes:
        self.tokens = [*self.tokens, token.astype("<i8").tobytes()][-self.design.spec.window :]
        memory = np.frombuffer(b"".join(self.tokens) + self.table.astype("<i8").tobytes(), dtype="<i8")
        return mixed(self.design)(memory[None])[0]


def shell_of(design: OverlayDesign) -> Shell:
    """The shell of an overlay."""
    words = tuple(kernel.output.sample_bytes // 4 for kernel in design.kernels)
    low, high = design.model_id_words
    cells = None
    if isinstance(design, GainCellDesign):
        cells = CellConstants(
            token_words=design.input.sample_bytes // 4,
            layers=design.layers,
            window=design.spec.window,
            table_words=design.table.size,
            current_width=design.current_width,
        )
    return Shell("top", high << 32 | low, words, isinstance(design, OperatorsDesign), cells)


def random_packet(design: OverlayDesign, samples: int, rng: np.random.Generator) -> bytes:
    """Stream bytes of random samples."""
    codes = rng.integers(design.input.format.min, design.input.format.max + 1, (samples, *design.input.shape))
    if isinstance(design, GainCellDesign):
        spec = design.spec
        codes %= np.array([spec.q_levels, spec.k_levels, spec.v_levels])[:, None, None]
    return pack(codes, design.input).tobytes()


def answer_words(design: OverlayDesign, compute: Compute, words: list[int]) -> list[int]:
    """What a kernel answers to one sample, word by word."""
    sample = np.array(words, dtype="<u4").tobytes()
    return np.frombuffer(pack(compute(unpack(sample, design.input)), design.output).tobytes(), dtype="<u4").tolist()
