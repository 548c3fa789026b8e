# SPDX-License-Identifier: Apache-2.0
"""A small integer model and its overlay."""

import hashlib

import numpy as np

from hls4attn.models.formats import Fixed
from hls4attn.overlays.boards import board
from hls4attn.overlays.design import DmaSpec, OverlayDesign
from hls4attn.overlays.ports import StreamPort

WEIGHTS = np.random.default_rng(7).integers(-8, 8, (7, 5))
INPUT = StreamPort((7,), Fixed(6, 4))  # 7 bytes and one of padding
OUTPUT = StreamPort((5,), Fixed(12, 6))  # 10 bytes and two of padding


def dense(codes: np.ndarray) -> np.ndarray:
    """Codes of INPUT to codes of OUTPUT: |sum| <= 7 * 32 * 8 = 1792 < 2048."""
    return codes @ WEIGHTS


def make_design(on: str = "pynq-z2", name: str = "nn", model: bytes = b"dense", **changes: object) -> OverlayDesign:
    values: dict = {
        "name": name,
        "board": board(on),
        "clock_mhz": 100.0,
        "model_id": hashlib.sha256(model).hexdigest(),
        "input": INPUT,
        "output": OUTPUT,
        "dma": DmaSpec(),
    }
    return OverlayDesign(**{**values, **changes})


def random_codes(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(INPUT.format.min, INPUT.format.max + 1, (samples, 7))
