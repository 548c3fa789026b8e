# SPDX-License-Identifier: Apache-2.0
"""The driver of the model IP, and the overlay that holds it."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hls4attn.host.connect import device_tag
from hls4attn.host.emulated.kernel import Kernel
from hls4attn.host.link import DmaLink
from hls4attn.host.ownership import claim, release
from hls4attn.host.pynq_compat import import_pynq
from hls4attn.models.errors import DeviceError, InputError
from hls4attn.models.formats import Codes, Reals
from hls4attn.overlays import registers as reg
from hls4attn.overlays.design import IP_VLNV, OverlayDesign
from hls4attn.overlays.package import Package, read_package
from hls4attn.overlays.packing import check_batch, pack, unpack

import_pynq()  # explains itself where the import below would not
import pynq  # noqa: E402

BUFFER_BYTES = 1 << 20
TIMEOUT_S = 10.0
RUN = reg.AP_START | reg.AUTO_RESTART


@dataclass(frozen=True)
class RunStats:
    """What the last call of `predict` moved; bytes as on the stream, padding included."""

    samples: int
    transfers: int
    bytes_in: int
    bytes_out: int


class StreamModel(pynq.DefaultIP):
    """Runs batches through a model in the logic.

    PYNQ binds it to the IP of every overlay; `attach` gives it the design and the DMA.
    """

    bindto = [IP_VLNV]  # noqa: RUF012  # read by PYNQ's metaclass

    def __init__(self, description: dict[str, Any]) -> None:
        super().__init__(description)
        self._design: OverlayDesign | None = None
        self._link: DmaLink | None = None
        self._chunk = 0
        self._lock = threading.Lock()
        self.last: RunStats | None = None

    def attach(
        self,
        design: OverlayDesign,
        dma: Any,
        *,
        buffer_bytes: int = BUFFER_BYTES,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Check that the logic holds the model of `design`, start it and allocate the buffers.

        Args:
            design: of the overlay that is loaded.
            dma: the `pynq.lib.DMA` on the streams of this IP.
            buffer_bytes: size of the larger buffer; at least one sample is always held.
            timeout_s: longest wait for one transfer, in seconds.

        Raises:
            DeviceError: if the model is another one, or there is no memory for the buffers.
            InputError: for a buffer size or timeout that is not positive.
        """
        if buffer_bytes < 1 or not timeout_s > 0:
            raise InputError(
                f"buffer_bytes and timeout_s must be positive. Received: {buffer_bytes}, {timeout_s}"
            )
        self._check_model_id(design)
        self.close()
        largest = max(design.input.sample_bytes, design.output.sample_bytes)
        self._chunk = max(1, min(buffer_bytes, design.dma.max_bytes) // largest)
        self._link = DmaLink(
            dma,
            self.device,
            send_bytes=self._chunk * design.input.sample_bytes,
            receive_bytes=self._chunk * design.output.sample_bytes,
            timeout_s=timeout_s,
        )
        self._design = design
        try:
            self.reset()
        except BaseException:
            self.close()
            raise

    def predict(self, batch: ArrayLike) -> Reals:
        """Outputs of a batch of real inputs.

        Inputs are quantised with the format of the input port: rounded and limited as it says.

        Args:
            batch: floats of shape ``(N, *input.shape)``; any N from 1.

        Returns:
            New float64 array ``(N, *output.shape)``, exactly ``code * 2**-frac`` of the output port.

        Raises:
            InputError: for another shape or dtype, an empty batch, NaN or infinity.
            DeviceError: if the board fails; the next call starts from a reset.
        """
        design = self._opened()[0]
        values = check_batch(batch, design.input)
        if values.dtype.kind != "f":
            raise InputError(
                f"predict takes real values as floats. Received: dtype {values.dtype}. "
                "For integer codes there is predict_codes"
            )
        finite = np.isfinite(values)
        if not finite.all():
            index = tuple(int(i) for i in np.argwhere(~finite)[0])
            raise InputError(
                f"Value {values[index]} at index {index} has no code "
                f"({int(np.count_nonzero(~finite))} of {values.size} are NaN or infinite)"
            )
        return design.output.format.to_real(self.predict_codes(design.input.format.quantise(values)))

    def predict_codes(self, codes: ArrayLike) -> Codes:
        """Output codes of a batch of input codes.

        Args:
            codes: integers of shape ``(N, *input.shape)`` within the format of the input port.

        Returns:
            New int64 array ``(N, *output.shape)``.

        Raises:
            InputError: for another shape or dtype, an empty batch, or a code outside the format.
            DeviceError: if the board fails; the next call starts from a reset.
        """
        design, link = self._opened()
        packed = pack(codes, design.input)
        answers = []
        with self._lock:
            try:
                if not link.healthy():  # somebody used the DMA directly and left it in an error
                    self._restart(link)
                for start in range(0, len(packed), self._chunk):
                    chunk = packed[start : start + self._chunk]
                    answers.append(link.exchange(chunk, len(chunk) * design.output.sample_bytes))
            except BaseException:  # an interrupt too leaves a transfer under way
                with contextlib.suppress(DeviceError):  # the first error says more
                    self._restart(link)
                raise
            data = np.concatenate(answers)
            self.last = RunStats(len(packed), len(answers), packed.nbytes, data.nbytes)
        try:
            return unpack(data, design.output)
        except InputError as error:
            raise DeviceError(f"The board gave what the model cannot give: {error}") from error

    @property
    def design(self) -> OverlayDesign:
        """Design of the overlay this model is part of."""
        return self._opened()[0]

    @property
    def device_tag(self) -> str:
        """What computes: `emulated:<board>` or `board:<name>`; belongs on every result."""
        return device_tag(self.device)

    @property
    def samples(self) -> int:
        """Samples processed since the last reset, counted by the logic modulo 2**32."""
        return int(self.read(reg.SAMPLES))

    def reset(self) -> None:
        """Reset DMA and model, and start the model again."""
        _, link = self._opened()
        with self._lock:
            self._restart(link)

    def close(self) -> None:
        """Free the buffers; a second time does nothing."""
        with self._lock:
            if self._link is not None:
                self._link.close()

    def __enter__(self) -> StreamModel:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _opened(self) -> tuple[OverlayDesign, DmaLink]:
        if self._design is None or self._link is None:
            raise DeviceError("The model has no DMA yet: load the overlay with load_overlay, or call attach")
        if self._link.closed:
            raise DeviceError("The model is closed; load the overlay again")
        return self._design, self._link

    def _restart(self, link: DmaLink) -> None:
        link.reset()
        self.write(reg.CTRL, RUN)

    def _check_model_id(self, design: OverlayDesign) -> None:
        found = tuple(int(self.read(offset)) for offset in (reg.MODEL_ID_LO, reg.MODEL_ID_HI))
        if found != design.model_id_words:
            low, high = found
            raise DeviceError(
                f"The logic holds model {high:08x}{low:08x}..., the manifest of {design.name!r} describes "
                f"{design.model_id[:16]}...: bitstream and manifest are of different models"
            )


class ModelOverlay(pynq.Overlay):
    """An overlay with one model: loads it, checks it and owns the device until `close`.

    Args:
        package: the overlay's files: a `Package`, or the path of one of them or of their folder.
        device: where to load it; the active device of PYNQ if None.
        kernel: what the model computes, for an emulated device; a real one computes itself.
        buffer_bytes: size of the larger DMA buffer.
        timeout_s: longest wait for one transfer, in seconds.

    Raises:
        ModelFileError: if the files are missing, damaged or do not belong together.
        DeviceError: if the device is in use, is of another part, needs a kernel or holds another model.
    """

    loading = False
    model: StreamModel | None = None

    def __init__(
        self,
        package: Package | Path | str,
        device: Any = None,
        kernel: Kernel | None = None,
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
            super().__init__(str(package.bit), device=device)
            model = getattr(self, package.design.ip)
            if not isinstance(model, StreamModel):
                raise DeviceError(
                    f"PYNQ bound {type(model).__name__} to {package.design.ip}, not StreamModel"
                )
            dma = getattr(self, package.design.dma.instance)
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
    kernel: Kernel | None = None,
    *,
    buffer_bytes: int = BUFFER_BYTES,
    timeout_s: float = TIMEOUT_S,
) -> ModelOverlay:
    """Load an overlay and return it with its model ready; see `ModelOverlay` for arguments and errors."""
    return ModelOverlay(package, device, kernel, buffer_bytes=buffer_bytes, timeout_s=timeout_s)


def _prepare(package: Package, device: Any, kernel: Kernel | None) -> None:
    """Refuse what cannot work before the device is touched."""
    from hls4attn.host.emulated_device import EmulatedDevice  # noqa: PLC0415  # registers a probe

    if not isinstance(device, EmulatedDevice):
        if package.emulation:
            raise DeviceError(
                f"{package.bit} only serves the emulated board and configures no device. Build the overlay "
                "with Vivado, or use connect(emulated=True)"
            )
        return
    if kernel is None:
        raise DeviceError(
            f"{device.tag} computes with a function in place of the logic: pass kernel=, for instance the C "
            "simulation of the converted model"
        )
    device.check_part(package)
    device.register_kernel(package.design, kernel)
