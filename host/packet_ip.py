# SPDX-License-Identifier: Apache-2.0
"""What the drivers of all our IPs share: identity, start, reset, and packets through the DMA."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hls4attn.host.connect import device_tag, is_emulated
from hls4attn.host.link import DmaLink
from hls4attn.host.pynq_compat import import_pynq
from hls4attn.models.errors import DeviceError, InputError
from hls4attn.overlays import registers as reg
from hls4attn.overlays.design import OverlayDesign

import_pynq()  # explains itself where the import below would not
import pynq  # noqa: E402

BUFFER_BYTES = 1 << 20
TIMEOUT_S = 10.0
RUN = reg.AP_START | reg.AUTO_RESTART

Ip = TypeVar("Ip", bound="PacketIp")


@dataclass(frozen=True)
class RunStats:
    """What the last run moved; bytes as on the stream, padding included."""

    samples: int
    transfers: int
    bytes_in: int
    bytes_out: int


class PacketIp(pynq.DefaultIP):
    """An IP that answers packets of whole samples; `attach` gives it the design and the DMA."""

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

    @property
    def design(self) -> OverlayDesign:
        """Design of the overlay this model is part of."""
        return self._opened()[0]

    @property
    def device_tag(self) -> str:
        """What computes: `emulated:<board>` or `board:<name>`; belongs on every result."""
        return device_tag(self.device)

    @property
    def cycles(self) -> int | None:
        """Clock cycles with a packet under way since the last reset; None where nothing counts them (`cycles_are`)."""
        if self.cycles_are is None:
            return None
        while True:  # the two halves of one moment
            high = int(self.read(reg.CYCLES_HI))
            low = int(self.read(reg.CYCLES_LO))
            if int(self.read(reg.CYCLES_HI)) == high:
                return high << 32 | low

    @property
    def cycles_are(self) -> str | None:
        """Where `cycles` comes from: logic counts, an emulated board goes by a model, if it has one."""
        if not is_emulated(self.device):
            return "counted by the logic"
        found: str | None = self.device.board.block(self._opened()[0].ip).cycles_are
        return found

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

    def __enter__(self: Ip) -> Ip:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _opened(self) -> tuple[OverlayDesign, DmaLink]:
        if self._design is None or self._link is None:
            raise DeviceError("The model has no DMA yet: load the overlay with load_overlay, or call attach")
        if self._link.closed:
            raise DeviceError("The model is closed; load the overlay again")
        return self._design, self._link

    def _exchange(self, link: DmaLink, packed: NDArray[np.uint8], answer_bytes: int) -> NDArray[np.uint8]:
        """Send samples in as few packets as the buffers allow; after an error everything is reset.

        Args:
            link: of this IP.
            packed: one row a sample.
            answer_bytes: of each sample's answer.
        """
        answers = []
        try:
            for start in range(0, len(packed), self._chunk):
                chunk = packed[start : start + self._chunk]
                answers.append(link.exchange(chunk, len(chunk) * answer_bytes))
        except BaseException:  # an interrupt too leaves a transfer under way
            with contextlib.suppress(DeviceError):  # the first error says more
                self._restart(link)
            raise
        data = np.concatenate(answers)
        self.last = RunStats(len(packed), len(answers), packed.nbytes, data.nbytes)
        return data

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
