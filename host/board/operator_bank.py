# SPDX-License-Identifier: Apache-2.0
"""The driver that PYNQ binds to a bank of operators: one operator at a time, by its name."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from hls4attn.host.board.link import DmaLink
from hls4attn.host.board.packet_ip import PacketIp
from hls4attn.models.errors import DeviceError, InputError
from hls4attn.models.formats import Codes
from hls4attn.overlays import registers as reg
from hls4attn.overlays.operators import OPERATORS_VLNV, Operator, OperatorsDesign
from hls4attn.overlays.packing import pack, unpack


class OperatorBank(PacketIp):
    """Runs batches through single operators in the logic.

    PYNQ binds it to the IP of an `OperatorsDesign`; `load_overlay` returns it as `model`.
    """

    bindto = [OPERATORS_VLNV]  # noqa: RUF012  # read by PYNQ's metaclass

    @property
    def operators(self) -> tuple[Operator, ...]:
        """All operators in the order of their numbers, with titles, shapes and formats."""
        return self._bank()[0].operators

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all operators, in the order of their numbers."""
        return tuple(operator.name for operator in self.operators)

    def operator(self, name: str) -> Operator:
        """An operator by name.

        Raises:
            InputError: for an unknown name; the message lists the known ones.
        """
        return self.operators[self._number(name)]

    def run(self, name: str, codes: ArrayLike) -> Codes:
        """Output codes of a batch of input codes of one operator.

        Args:
            name: of the operator.
            codes: integers of shape ``(N, *input.shape)`` within the format of the operator's input; any N from 1.

        Returns:
            New int64 array ``(N, *output.shape)``.

        Raises:
            InputError: for an unknown name, another shape or dtype, an empty batch, or a code outside the format.
            DeviceError: if the board fails; the next call starts from a reset.
        """
        number = self._number(name)
        operator = self.operators[number]
        packed = pack(codes, operator.input)
        with self._lock:
            _, link = self._current()
            if not link.healthy():  # somebody used the DMA directly and left it in an error
                self._restart(link)
            self._write_select(number)
            data = self._exchange(link, packed, operator.output.sample_bytes)
        try:
            return unpack(data, operator.output)
        except InputError as error:
            raise DeviceError(f"The board gave what {name} cannot give: {error}") from error

    def select(self, name: str) -> None:
        """Say which operator the next packet is for; only for those who use the DMA themselves, `run` selects.

        Raises:
            InputError: for an unknown name.
            DeviceError: if the logic does not take the number.
        """
        number = self._number(name)
        with self._lock:
            self._write_select(number)

    @property
    def selected(self) -> str:
        """Name of the operator that the next packet is for.

        Raises:
            DeviceError: if the logic names one that is not there.
        """
        names, number = self.names, self.read(reg.SELECT)
        if number >= len(names):
            raise DeviceError(f"The logic selects operator {number}; this overlay has {len(names)}")
        return names[number]

    @property
    def samples(self) -> int:
        """Samples of all operators since the last reset, counted by the logic modulo 2**32."""
        return self.read(reg.SAMPLES)

    def _bank(self) -> tuple[OperatorsDesign, DmaLink]:
        design, link = self._opened()
        if not isinstance(design, OperatorsDesign):
            raise DeviceError(f"Overlay {design.name!r} is not a bank of operators")
        return design, link

    def _number(self, name: Any) -> int:
        names = self.names
        if name not in names:
            raise InputError(f"Unknown operator {name!r:.80}; in this overlay: {', '.join(names)}")
        return names.index(name)

    def _write_select(self, number: int) -> None:
        """Select an operator and read it back: answers of another would be of plausible shape, and wrong."""
        self.write(reg.SELECT, number)
        found = self.read(reg.SELECT)
        if found != number:
            raise DeviceError(
                f"The logic selects operator {found} instead of {number}: the overlay was not built for this manifest"
            )
