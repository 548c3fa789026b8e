# SPDX-License-Identifier: Apache-2.0
"""The IP in front of a bank of operators; see `overlays.operators`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hls4attn.host.emulated.kernel import Kernel, StreamKernel
from hls4attn.models.errors import DeviceError
from hls4attn.overlays import registers as reg
from hls4attn.overlays.operators import OperatorsDesign

MakeKernels = Callable[[], Sequence[Kernel]]
"""What the operators of a bank compute, in the order of their numbers."""


class OperatorKernel(StreamKernel):
    """Several kernels behind the control registers of one IP, of which SELECT takes one.

    Args:
        design: ports and model id.
        make: called once.
        base: first address.
        size: in bytes.

    Raises:
        DeviceError: if there are more or fewer kernels than operators.
    """

    def __init__(self, design: OperatorsDesign, make: MakeKernels, base: int, size: int) -> None:
        self._bank, self._kernels = design.kernels, list(make())
        if len(self._kernels) != len(self._bank):
            raise DeviceError(f"{design.ip} has {len(self._bank)} operators. Received: {len(self._kernels)} kernels")
        super().__init__(design, self._kernels[0], base, size)

    def reset(self) -> None:
        """As `ap_rst_n`: also selects operator 0."""
        super().reset()
        self._select = self._before = 0  # samples that left before the last packet

    def read32(self, offset: int) -> int:
        """Value of a register."""
        return self._select if offset == reg.SELECT else super().read32(offset)

    def write32(self, offset: int, value: int) -> None:
        """Write a register; a number beyond the last operator leaves SELECT as it is."""
        if offset == reg.SELECT:
            self._select = value if value < len(self._bank) else self._select
        else:
            super().write32(offset, value)

    def accept(self, packet: bytes) -> bool:
        """Offer a packet to the operator that SELECT says now; false while TREADY is low."""
        if self.why_no_input() is None:
            self._before, self._left = self._samples, 0
            self._kernel, self._port = self._kernels[self._select], self._bank[self._select]
        return super().accept(packet)

    @property
    def _samples(self) -> int:
        return self._before + super()._samples

    @property
    def cycles_are(self) -> str | None:
        """Where CYCLES comes from; None unless every operator has a model of its cycles."""
        if any(getattr(kernel, "cycles", None) is None for kernel in self._kernels):
            return None
        return super().cycles_are
