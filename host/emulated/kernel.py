# SPDX-License-Identifier: Apache-2.0
"""The model IP: packets of whole samples in, packets of their outputs out."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from hls4attn.host.emulated.blocks import RegisterBlock
from hls4attn.models.errors import DeviceError, Hls4attnError, InputError
from hls4attn.models.formats import Codes
from hls4attn.overlays import registers as reg
from hls4attn.overlays.design import OverlayDesign
from hls4attn.overlays.packing import pack, unpack

Kernel = Callable[[Codes], Codes]
"""Codes ``(N, *input.shape)`` in, codes ``(N, *output.shape)`` out, both int64.

An attribute `cycles`, a function of a number of samples, lets the emulated IP count clock cycles, its own registers
included; without it CYCLES stays 0.  An attribute `cycles_are` says in words where they come from.
"""


class StreamKernel(RegisterBlock):
    """Runs a `Kernel` behind the control registers of the model IP.

    It takes a packet when it was started and its previous output has left.  A packet that ends inside a
    sample leaves it waiting for the rest, as the hardware would.

    Args:
        design: ports and model id.
        kernel: the function.
        base: first address.
        size: in bytes.
    """

    def __init__(self, design: OverlayDesign, kernel: Kernel, base: int, size: int) -> None:
        super().__init__(design.ip, base, size)
        self._design = design
        self._kernel = kernel
        self._port = design.kernels[0]
        self.reset()

    def reset(self) -> None:
        """As `ap_rst_n`: idle, not started, nothing under way, no samples counted."""
        self._started = self._auto_restart = self._done = False
        self._left = self._cycles = 0  # bytes of output that left
        self._output: bytes | None = None
        self._partial = 0  # bytes of a packet that ended inside a sample

    def read32(self, offset: int) -> int:
        """Value of a register; reading CTRL clears AP_DONE."""
        low, high = self._design.model_id_words
        if offset != reg.CTRL:
            samples = self._samples & 0xFFFFFFFF
            values = {reg.MODEL_ID_LO: low, reg.MODEL_ID_HI: high, reg.SAMPLES: samples}
            values |= {reg.CYCLES_LO: self._cycles & 0xFFFFFFFF, reg.CYCLES_HI: self._cycles >> 32}
            return values.get(offset, 0)
        value = reg.AP_START * self._started | reg.AUTO_RESTART * self._auto_restart
        value |= reg.AP_IDLE * (not self._started) | (reg.AP_DONE | reg.AP_READY) * self._done
        self._done = False
        return value

    def write32(self, offset: int, value: int) -> None:
        """Write CTRL; the other registers are read-only."""
        if offset == reg.CTRL:
            self._started = self._started or bool(value & reg.AP_START)
            self._auto_restart = bool(value & reg.AUTO_RESTART)

    def accept(self, packet: bytes) -> bool:
        """Offer a packet; false while TREADY is low.

        Raises:
            DeviceError: if the packet holds no codes of the input port, or the kernel function fails or returns
                what does not fit the output port.
        """
        if not self._started or self._output is not None or self._partial:
            return False
        self._partial = len(packet) % self._port.input.sample_bytes
        if not self._partial:
            self._output = self._run(packet)
        return True

    @property
    def _samples(self) -> int:
        """Samples that left since the reset."""
        return self._left // self._port.output.sample_bytes

    @property
    def output(self) -> bytes | None:
        """The packet that waits at the output, if any."""
        return self._output

    @property
    def cycles_are(self) -> str | None:
        """Where CYCLES comes from, in words; None if it stays 0."""
        if getattr(self._kernel, "cycles", None) is None:
            return None
        return str(getattr(self._kernel, "cycles_are", "by a cycle model, not measured"))

    @property
    def made_as(self) -> str | None:
        """How the Verilog that computes was made, in words; None if none does."""
        return getattr(self._kernel, "made_as", "") or None

    @cached_property
    def _shell_cycles(self) -> int:
        """What the shell's registers add to the cycles of a packet."""
        from hls4attn.hls.shell import added_cycles  # not there on a board, which counts for itself
        from hls4attn.overlays.shell import design_shell

        return added_cycles(design_shell(self._design))

    def take(self, limit: int | None = None) -> bytes:
        """Remove the packet at the output, or its first `limit` bytes."""
        waiting = self._output or b""
        packet, rest = waiting[:limit], waiting[len(waiting[:limit]) :]
        self._left += len(packet)
        self._output = rest or None
        if not rest:
            self._done = True
            self._started = self._auto_restart
        return packet

    def why_no_input(self) -> str | None:
        """Why the kernel takes no packet, in words; None if it would."""
        if self._partial:
            return self.why_no_output()
        if not self._started:
            return f"{self.name} was not started: write 0x81 (AP_START, AUTO_RESTART) to its CTRL register"
        if self._output is not None:
            return f"{self.name} holds {len(self._output)} bytes of output that nobody receives"
        return None

    def why_no_output(self) -> str | None:
        """Why the kernel will give no packet although it took one, in words; None if it took none."""
        if self._partial:
            size = self._port.input.sample_bytes
            return (
                f"the last packet ended {self._partial} bytes into a sample of {size}: "
                f"{self.name} waits for the rest. Send whole samples, after a reset of the DMA"
            )
        return None

    def _run(self, packet: bytes) -> bytes:
        try:
            codes = unpack(packet, self._port.input)
        except InputError as error:  # the logic would compute something from it, but nothing that is specified
            raise DeviceError(f"A packet sent to {self.name} holds no input of its model: {error}") from error
        expected = (len(codes), *self._port.output.shape)
        try:
            result = np.asarray(self._kernel(codes))
            if result.shape != expected:
                raise DeviceError(f"returned shape {result.shape}, expected {expected}")
            packed = pack(result, self._port.output)
        except Hls4attnError as error:
            raise DeviceError(f"The kernel function of {self.name} failed: {error}") from error
        except Exception as error:  # somebody else's function: name it, keep its traceback as the cause
            kind = type(error).__name__
            raise DeviceError(f"The kernel function of {self.name} failed: {kind}: {error}") from error
        cycles = getattr(self._kernel, "cycles", None)
        if cycles is not None:
            self._cycles += int(cycles(len(codes))) + self._shell_cycles
        return packed.tobytes()
