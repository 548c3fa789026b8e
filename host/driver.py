# SPDX-License-Identifier: Apache-2.0
"""Loading an overlay with a model, on a board or on an emulated one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hls4attn.host.board.gaincell_model import GainCellModel
from hls4attn.host.board.operator_bank import OperatorBank
from hls4attn.host.board.ownership import claim, release
from hls4attn.host.board.packet_ip import BUFFER_BYTES, TIMEOUT_S, PacketIp, RunStats
from hls4attn.host.board.stream_model import StreamModel
from hls4attn.host.connect import device_tag, emulated_elsewhere, known_name
from hls4attn.host.emulated.cells import MakeCells
from hls4attn.host.emulated.kernel import Kernel
from hls4attn.host.emulated.operators import MakeKernels
from hls4attn.host.errors import WrongPartError
from hls4attn.host.pynq_compat import active, import_pynq
from hls4attn.host.simulated import simulated_kernel
from hls4attn.models.errors import DeviceError
from hls4attn.overlays.boards import board
from hls4attn.overlays.design import OverlayDesign
from hls4attn.overlays.gaincell import GainCellDesign
from hls4attn.overlays.operators import OperatorsDesign
from hls4attn.overlays.package import Package, read_package

import_pynq()  # explains itself where the import below would not
import pynq  # noqa: E402

__all__ = [
    "BUFFER_BYTES",
    "TIMEOUT_S",
    "GainCellModel",
    "ModelOverlay",
    "OperatorBank",
    "RunStats",
    "StreamModel",
    "load_overlay",
]

_DRIVERS: dict[type[OverlayDesign], type[PacketIp]] = {
    OverlayDesign: StreamModel,
    GainCellDesign: GainCellModel,
    OperatorsDesign: OperatorBank,
}


class ModelOverlay(pynq.Overlay):
    """An overlay with one model: loads it, checks it and owns the device until `close`.

    Args:
        package: the overlay's files: a `Package`, or the path of one of them or of their folder.
        device: where to load it; the active device of PYNQ if None.
        kernel: what the model computes, for an emulated device; a real one computes itself.  Gain cells
            and the bank of `operators_overlay` need none: without it their C simulation computes.
        buffer_bytes: size of the larger DMA buffer.
        timeout_s: longest wait for one transfer, in seconds.

    Raises:
        ModelFileError: if the files are missing, damaged or do not belong together.
        DeviceError: if the device is in use, is of another part, needs a kernel or holds another model.
    """

    loading = False
    model: Any = None  # the driver of the design's kind

    def __init__(
        self,
        package: Package | Path | str,
        device: Any = None,
        kernel: Kernel | MakeCells | MakeKernels | None = None,
        *,
        buffer_bytes: int = BUFFER_BYTES,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        package = package if isinstance(package, Package) else read_package(package)
        device = pynq.Device.active_device if device is None else device
        self.package = package
        claim(device, self)
        self.loading = True
        try:
            _prepare(package, device, kernel)
            with active(device), _explained(device):  # active: where PYNQ looks for interrupts
                super().__init__(str(package.bit), device=device)
                model = getattr(self, package.design.ip)
                dma = getattr(self, package.design.dma.instance)
            wanted = _DRIVERS[type(package.design)]
            if not isinstance(model, wanted):
                raise DeviceError(f"PYNQ bound {type(model).__name__} to {package.design.ip}, not {wanted.__name__}")
            model.attach(package.design, dma, buffer_bytes=buffer_bytes, timeout_s=timeout_s)
            self.model = model
        except BaseException:
            release(device, self)
            raise
        finally:
            self.loading = False

    @property
    def owner_name(self) -> str:
        """Name in messages about a busy device."""
        return self.package.design.name

    def download(self, dtbo: str | None = None) -> None:
        """Configure the logic, and after the first time start the model again."""
        if self.model is None:  # from __init__
            super().download(dtbo)
            return
        claim(self.device, self)
        self.loading = True
        try:
            with _explained(self.device):
                super().download(dtbo)
        finally:
            self.loading = False
        self.model.reset()

    def close(self) -> None:
        """Free the buffers and give the device back; a second time does nothing."""
        if self.model is not None:
            self.model.close()
        release(self.device, self)

    def __enter__(self) -> ModelOverlay:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def load_overlay(
    package: Package | Path | str,
    device: Any = None,
    kernel: Kernel | MakeCells | MakeKernels | None = None,
    *,
    buffer_bytes: int = BUFFER_BYTES,
    timeout_s: float = TIMEOUT_S,
) -> ModelOverlay:
    """Load an overlay and return it with its model ready; see `ModelOverlay` for arguments and errors."""
    return ModelOverlay(package, device, kernel, buffer_bytes=buffer_bytes, timeout_s=timeout_s)


@contextmanager
def _explained(device: Any) -> Iterator[None]:
    """Say in words what Linux refuses while a board is configured.

    Raises:
        DeviceError: in place of an OSError.
    """
    try:
        yield
    except OSError as error:
        where = str(error.filename or "")
        if Path(where).name == "loaded.xclbin":  # PYNQ from 3.1 on writes it where the program runs
            raise DeviceError(
                f"PYNQ writes loaded.xclbin into the current folder, and cannot: {error.strerror}. Change to a folder "
                "that can be written"
            ) from error
        said = f"{where}: {error.strerror}" if where else (error.strerror or str(error)).rstrip(".")
        raise DeviceError(
            f"{device_tag(device)} was not configured: {said}. On a board, run as root with the environment of "
            "/etc/profile.d"
        ) from error


def _prepare(package: Package, device: Any, kernel: Kernel | MakeCells | MakeKernels | None) -> None:
    """Refuse what cannot work before the device is touched."""
    from hls4attn.host.emulated_device import EmulatedDevice  # registers a probe

    if not isinstance(device, EmulatedDevice):
        if package.emulation and not emulated_elsewhere(device):
            raise DeviceError(
                f"{package.bit} only serves the emulated board and configures no device. Build the overlay "
                "with Vivado, or use connect(emulated=True)"
            )
        _check_real_part(package, device)
        return
    kernel = simulated_kernel(package.design, device.computes) if kernel is None else kernel
    if kernel is None:
        raise DeviceError(
            f"{device.tag} computes with a function in place of the logic: pass kernel=, for instance the C "
            "simulation of the converted model"
        )
    device.check_part(package)
    device.register_kernel(package.design, kernel)


def _check_real_part(package: Package, device: Any) -> None:
    """Refuse an overlay for another part than that of the board, where PYNQ says which board it is."""
    name = known_name(device)  # XRT gives every embedded device the same name, so BOARD counts too
    if name is None:
        return
    wanted, here = package.design.board, board(name)
    if here.part != wanted.part:
        raise WrongPartError(
            f"{package.bit} is for {wanted.part} ({wanted.name}); this {name} has {here.part}. "
            f"Build the overlay for {here.name}"
        )
