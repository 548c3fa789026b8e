# SPDX-License-Identifier: Apache-2.0
"""Overlays on disk, and PYNQ's global state as it was."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dense_model import make_design

from hls4attn.overlays.package import Package, write_package


@pytest.fixture
def package(tmp_path: Path) -> Callable[..., Package]:
    """Write the overlay of a design into a folder of its own."""

    def write(**changes: object) -> Package:
        design = make_design(**changes)  # type: ignore[arg-type]
        return write_package(design, tmp_path / f"{design.board.name}-{design.name}")

    return write


@pytest.fixture
def pynq_state() -> Iterator[None]:
    """Leave PYNQ's global choice of a device as it was; for tests that need PYNQ."""
    pynq = pytest.importorskip("pynq")

    before = dict(vars(pynq.Device))
    yield
    for key in ("_active_device", "_devices"):
        if key in before:
            setattr(pynq.Device, key, before[key])
        elif key in vars(pynq.Device):
            delattr(pynq.Device, key)
