# SPDX-License-Identifier: Apache-2.0
"""The driver that PYNQ binds to the model IP."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hls4attn.host.connect import device_tag
from hls4attn.host.link import DmaLink
from hls4attn.host.pynq_compat import import_pynq
from hls4attn.models.errors import DeviceError, InputError
from hls4attn.models.formats import Codes, Reals
from hls4attn.overlays import registers as reg
from hls4attn.overlays.design import IP_VLNV, OverlayDesign
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
            raise InputError(f"buffer_bytes and timeout_s must be positive. Received: {buffer_bytes}, {timeout_s}")
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
