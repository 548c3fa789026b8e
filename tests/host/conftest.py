# SPDX-License-Identifier: Apache-2.0
"""Overlays on disk, and PYNQ's global state as it was."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dense_model import make_design
from driven import SMALL, Flaky

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


@pytest.fixture(params=["pynq-z2", "aup-zu3"])
def device(request: pytest.FixtureRequest):
    """An emulated board of each family."""
    pytest.importorskip("pynq")
    from hls4attn.host.emulated_device import EmulatedDevice

    return EmulatedDevice(request.param)


@pytest.fixture
def kernel() -> Flaky:
    return Flaky()


@pytest.fixture
def overlay(device, kernel: Flaky, package):
    """The dense model, loaded, with buffers of 40 samples."""
    from hls4attn.host.driver import load_overlay

    with load_overlay(package(on=device.name), device, kernel, buffer_bytes=SMALL) as overlay:
        yield overlay


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The places of overlays, all empty."""
    from hls4attn.host import library

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HLS4ATTN_OVERLAYS", f"{tmp_path / 'first'}:{tmp_path / 'second'}")
    monkeypatch.delenv("HLS4ATTN_EMULATED_BOARD", raising=False)
    monkeypatch.delenv("BOARD", raising=False)
    monkeypatch.setattr(library, "_PACKAGE", tmp_path / "package")
    return tmp_path
