# SPDX-License-Identifier: Apache-2.0
"""Gain cells of a few shapes, their overlay, and what each layer must answer after any conversation."""

from dataclasses import replace

import numpy as np

from hls4attn.models.operators import GainCellSpec
from hls4attn.models.operators.gain_curve import LINEAR_CELL
from hls4attn.overlays.boards import board
from hls4attn.overlays.gaincell import GainCellDesign
from hls4attn.overlays.package import write_package

SATURATIONS = {"score_saturation": 30.0, "context_saturation": 8.0}
SMALL = GainCellSpec(heads=2, head_dim=6, window=8, tile=4, **SATURATIONS)
SPECS = {
    "the paper's cell": SMALL,
    "tiles by position, uneven levels": replace(SMALL, tiling="absolute", q_levels=11, k_levels=16, v_levels=4),
    "one head, padded words": GainCellSpec(heads=1, head_dim=5, window=6, tile=2, leak=0.2, **SATURATIONS),
}
LAYERS, WIDTH = 3, 16


def other_cells(spec: GainCellSpec) -> GainCellSpec:
    """The same structure with other currents."""
    return replace(spec, cell=LINEAR_CELL, leak=0.05)


def draw(spec: GainCellSpec, tokens: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [
        rng.integers(0, n, (tokens, spec.heads, spec.head_dim)) for n in (spec.q_levels, spec.k_levels, spec.v_levels)
    ]


def sequence(spec: GainCellSpec, q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    return spec.reference(*(a.swapaxes(0, 1) for a in (q, k, v))).swapaxes(0, 1)


class Truth:
    """What each layer saw since it was cleared, and the integer reference of that."""

    def __init__(self, spec: GainCellSpec, layers: int = LAYERS) -> None:
        self.spec = spec
        self.seen = [draw(spec, 0, 0) for _ in range(layers)]
        self.cycles = self.tokens = 0

    def step(self, operands: list[np.ndarray], layer: int) -> np.ndarray:
        spec, before = self.spec, len(self.seen[layer][0])
        self.seen[layer] = [np.concatenate(pair) for pair in zip(self.seen[layer], operands, strict=True)]
        after = len(self.seen[layer][0])
        lanes = -(-spec.head_dim // spec.tile)
        for n in range(before + 1, after + 1):  # the formula of the documentation, spelt out
            filled = min(n, spec.window)
            tiles = -(-filled // spec.tile) + (spec.tiling == "absolute" and filled == spec.window)
            self.cycles += spec.heads * spec.tile * tiles + -(-spec.head_dim // lanes)
        self.tokens += after - before
        return sequence(spec, *self.seen[layer])[before:]

    def clear(self, layer: int | None) -> None:
        for n in range(len(self.seen)) if layer is None else [layer]:
            self.seen[n] = draw(self.spec, 0, 0)

    def filled(self, layer: int) -> int:
        return min(len(self.seen[layer][0]), self.spec.window)


def package(folder, spec: GainCellSpec = SMALL, on: str = "pynq-z2", **options):
    design = GainCellDesign.of(spec, board(on), **{"layers": LAYERS, "current_width": WIDTH, **options})
    return write_package(design, folder)


def agree(model, truth: Truth, tokens: int, seed: int, layer: int = 0) -> None:
    operands = draw(truth.spec, tokens, seed)
    assert np.count_nonzero(model.step(*operands, layer=layer) != truth.step(operands, layer)) == 0


def unharmed(model, truth: Truth) -> None:
    """Every layer holds what it held, and goes on from there."""
    for layer in range(LAYERS):
        assert model.filled(layer) == truth.filled(layer)
        agree(model, truth, 2, 1000 + layer, layer)


def begun(model) -> Truth:
    """Layers 0 and 1 hold tokens, 2 none."""
    truth = Truth(SMALL)
    agree(model, truth, 5, 1, 0)
    agree(model, truth, 11, 2, 1)
    return truth
