# SPDX-License-Identifier: Apache-2.0
"""Designs that the tests of overlays share."""

import hashlib
from typing import Any

from hls4attn.models.formats import Fixed
from hls4attn.models.operators import GainCellSpec
from hls4attn.overlays.boards import board
from hls4attn.overlays.design import KernelPort, OverlayDesign
from hls4attn.overlays.gaincell import GainCellDesign
from hls4attn.overlays.ports import StreamPort

BOARDS = ("pynq-z1", "pynq-z2", "aup-zu3", "kv260", "zcu104", "pynq-zu", "rfsoc4x2")
MODEL_ID = hashlib.sha256(b"model").hexdigest()


def make(
    name: str = "nn", on: str = "pynq-z2", of: type[OverlayDesign] = OverlayDesign, **changes: Any
) -> OverlayDesign:
    values: dict = {
        "name": name,
        "board": board(on),
        "clock_mhz": 100.0,
        "model_id": MODEL_ID,
        "input": StreamPort((3, 5), Fixed(6, 4)),
        "output": StreamPort((7,), Fixed(12, 4, signed=False)),
    }
    return of(**{**values, **changes})


class Bank(OverlayDesign):
    """Several kernels behind one IP."""

    @property
    def kernels(self) -> tuple[KernelPort, ...]:
        return tuple(KernelPort(f"kernel{letter}", self.input, self.output) for letter in "abc")


def cells(spec: GainCellSpec | None = None, on: str = "pynq-z2", **options: object) -> GainCellDesign:
    spec = spec or GainCellSpec(heads=2, head_dim=6, window=8, tile=4)
    return GainCellDesign.of(spec, board(on), **{"layers": 2, **options})  # type: ignore[arg-type]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
