# SPDX-License-Identifier: Apache-2.0
"""What the drivers of all our IPs share: identity, start, reset, and packets through the DMA."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hls4attn.host.board.link import ALL_ONES, GONE, DmaLink, answering, read_register
from hls4attn.host.board.turns import Turns
from hls4attn.host.connect import device_tag, emulated_elsewhere, is_emulated
from hls4attn.host.errors import (
    DeviceBusyError,
    DeviceGoneError,
    MissingLastError,
    StalledStreamError,
    TransferTimeoutError,
    WrongModelError,
)
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
        self._lock = Turns()
        self._process = os.getpid()
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
            WrongModelError: if the model is another one.
            DeviceError: if there is no memory for the buffers.
            InputError: for a buffer size or timeout that is not positive.
        """
        if buffer_bytes < 1 or not timeout_s > 0:
            raise InputError(f"buffer_bytes and timeout_s must be positive. Received: {buffer_bytes}, {timeout_s}")
        self._check_model_id(design)
        self.close()
        self._process = os.getpid()
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

    def read(self, offset: int = 0) -> int:
        """Value of a register.

        Raises:
            DeviceGoneError: if it does not answer.
        """
        return read_register(super().read, offset)

    def write(self, offset: int, value: Any) -> None:
        """Write a register; raises as `read`."""
        with answering():
            super().write(offset, value)

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
            high = self.read(reg.CYCLES_HI)
            low = self.read(reg.CYCLES_LO)
            if self.read(reg.CYCLES_HI) == high:
                return high << 32 | low

    @property
    def cycles_are(self) -> str | None:
        """Where `cycles` comes from: logic counts, an emulated board goes by a model, if it has one.

        None if nothing counts, or an emulated board in another process does not say whether it does.
        """
        if emulated_elsewhere(self.device):
            return None
        if not is_emulated(self.device):
            return "counted by the logic"
        found: str | None = self.device.board.block(self._opened()[0].ip).cycles_are
        return found

    @property
    def made_as(self) -> str | None:
        """How the Verilog was made that an emulated board of this process computes with; else None."""
        if not is_emulated(self.device):
            return None
        found: str | None = self.device.board.block(self._opened()[0].ip).made_as
        return found

    def reset(self) -> None:
        """Reset DMA and model, and start the model again."""
        with self._lock:
            self._restart(self._opened()[1])

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
        if self._process != os.getpid():  # after a fork, two processes would drive one DMA
            raise DeviceBusyError(
                f"Process {self._process} owns the device; this one, {os.getpid()}, was forked from it. Use the "
                "device there, or close it there and load the overlay here"
            )
        return self._design, self._link

    def _current(self) -> tuple[OverlayDesign, DmaLink]:
        """Design and DMA, now that it is our turn, after a look whether the logic is still ours."""
        design, link = self._opened()
        self._check_model_id(design)
        return design, link

    def _exchange(self, link: DmaLink, packed: NDArray[np.uint8], answer_bytes: int) -> NDArray[np.uint8]:
        """Send samples in as few packets as the buffers allow; after an error everything is reset.

        Args:
            link: of this IP.
            packed: one row a sample.
            answer_bytes: of each sample's answer.
        """
        answers = []
        for chunk in self._chunks(packed):
            with self._watched(link, len(chunk)):
                answers.append(link.exchange(chunk, len(chunk) * answer_bytes))
        return self._joined(packed, answers)

    async def _exchange_async(self, link: DmaLink, packed: NDArray[np.uint8], answer_bytes: int) -> NDArray[np.uint8]:
        """As `_exchange`; other tasks run meanwhile."""
        answers = []
        for chunk in self._chunks(packed):
            with self._watched(link, len(chunk)):
                answers.append(await link.exchange_async(chunk, len(chunk) * answer_bytes))
        return self._joined(packed, answers)

    def _chunks(self, packed: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
        return (packed[start : start + self._chunk] for start in range(0, len(packed), self._chunk))

    def _joined(self, packed: NDArray[np.uint8], answers: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        data = np.concatenate(answers)
        self.last = RunStats(len(packed), len(answers), packed.nbytes, data.nbytes)
        return data

    @contextlib.contextmanager
    def _watched(self, link: DmaLink, samples: int) -> Iterator[None]:
        """One transfer: name what goes wrong, and reset everything after it."""
        before = self.read(reg.SAMPLES)
        try:
            with answering():
                yield
        except BaseException as error:  # an interrupt or a cancelled task, too, leaves a transfer under way
            try:
                if isinstance(error, TransferTimeoutError):
                    raise self._cause(link, error, samples, before) from error
                raise
            finally:
                with contextlib.suppress(DeviceError):  # the first error says more
                    self._restart(link)

    def _cause(self, link: DmaLink, error: TransferTimeoutError, samples: int, before: int) -> DeviceError:
        """What the registers say about an answer that did not come."""
        try:
            if self._design is not None:
                self._check_model_id(self._design)
            sent, received = link.idle()
            started = self.read(reg.CTRL) & reg.AP_START
            left = (self.read(reg.SAMPLES) - before) % (1 << 32)
        except (DeviceGoneError, WrongModelError) as said:
            return said
        if received:
            return error
        if left >= samples:
            return MissingLastError(f"All {samples} answers left the logic, but no TLAST with the last word. {error}")
        if sent:
            return StalledStreamError(f"The logic took {samples} samples and answered {left}. {error}")
        why = "The logic takes no input" if started else f"{self._instance} was not started (CTRL)"
        return StalledStreamError(f"{why}. {error}")

    @property
    def _instance(self) -> str:
        return self._design.ip if self._design is not None else "The IP"

    def _restart(self, link: DmaLink) -> None:
        with answering():
            link.reset()
        if self._design is not None:
            self._check_model_id(self._design)  # somebody may have configured the logic anew
        self.write(reg.CTRL, RUN)

    def _check_model_id(self, design: OverlayDesign) -> None:
        found = tuple(self.read(offset) for offset in (reg.MODEL_ID_LO, reg.MODEL_ID_HI))
        if found != design.model_id_words:
            low, high = found
            if ALL_ONES in found:
                raise DeviceGoneError(f"{design.ip} answers with all bits set. {GONE}")
            raise WrongModelError(
                f"The logic holds model {high:08x}{low:08x}..., the manifest of {design.name!r} describes "
                f"{design.model_id[:16]}...: bitstream and manifest are of different models, or somebody configured "
                "the logic since. Load the overlay again"
            )
