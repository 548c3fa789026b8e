# SPDX-License-Identifier: Apache-2.0
"""The driver that PYNQ binds to the model IP."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hls4attn.host.board.laps import lap
from hls4attn.host.board.link import DmaLink
from hls4attn.host.board.packet_ip import PacketIp
from hls4attn.models.errors import DeviceError, InputError
from hls4attn.models.formats import Codes, Reals
from hls4attn.overlays import registers as reg
from hls4attn.overlays.design import IP_VLNV, OverlayDesign
from hls4attn.overlays.packing import check_batch, pack, unpack


class StreamModel(PacketIp):
    """Runs batches through a model in the logic.

    PYNQ binds it to the IP of every overlay; `attach` gives it the design and the DMA.
    """

    bindto = [IP_VLNV]  # noqa: RUF012  # read by PYNQ's metaclass

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
        return design.output.format.to_real(self.predict_codes(self._quantised(batch)))

    async def predict_async(self, batch: ArrayLike) -> Reals:
        """As `predict`; other tasks run while the logic works.

        Tasks and threads that use one model take turns.  A task that is cancelled leaves a model that works.
        """
        design = self._opened()[0]
        return design.output.format.to_real(await self.predict_codes_async(self._quantised(batch)))

    def _quantised(self, batch: ArrayLike) -> Codes:
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
        return design.input.format.quantise(values)

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
        packed = pack(codes, self._opened()[0].input)
        lap("pack")
        with self._lock:
            design, link = self._ready()
            data = self._exchange(link, packed, design.output.sample_bytes)
        return self._codes(data, design)

    async def predict_codes_async(self, codes: ArrayLike) -> Codes:
        """As `predict_codes`; see `predict_async`."""
        packed = pack(codes, self._opened()[0].input)
        lap("pack")
        async with self._lock:
            design, link = self._ready()
            data = await self._exchange_async(link, packed, design.output.sample_bytes)
        return self._codes(data, design)

    def _ready(self) -> tuple[OverlayDesign, DmaLink]:
        """Design and DMA, now that it is our turn."""
        design, link = self._current()
        if not link.healthy():  # somebody used the DMA directly and left it in an error
            self._restart(link)
        return design, link

    def _codes(self, data: NDArray[np.uint8], design: OverlayDesign) -> Codes:
        try:
            answers = unpack(data, design.output)
        except InputError as error:
            raise DeviceError(f"The board gave what the model cannot give: {error}") from error
        lap("unpack")
        return answers

    @property
    def samples(self) -> int:
        """Samples processed since the last reset, counted by the logic modulo 2**32."""
        return self.read(reg.SAMPLES)
