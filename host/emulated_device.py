# SPDX-License-Identifier: Apache-2.0
"""The emulated board behind PYNQ's own API: the one file that knows PYNQ's internals.

Everything above `pynq.Device` is PYNQ's, unmodified: Overlay, MMIO, DMA, allocate, Clocks, register maps.
A device comes into being only by `EmulatedDevice(...)` or, when PYNQ probes, through the environment
variable HLS4ATTN_EMULATED_BOARD; importing this module on a real board changes nothing.

Runs with PYNQ 3.0.1, 3.1.2 and 4.0.0; where they differ, the code says so.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from hls4attn.host.board.ownership import refuse_if_busy
from hls4attn.host.connect import DEFAULT_BOARD, ENVIRONMENT, chosen_model
from hls4attn.host.emulated.board import EmulatedBoard
from hls4attn.host.emulated.cells import MakeCells
from hls4attn.host.emulated.kernel import Kernel
from hls4attn.host.emulated.operators import MakeKernels
from hls4attn.host.emulated.regarray import RegisterArray
from hls4attn.host.emulated.uio import EmulatedUio
from hls4attn.host.errors import WrongPartError
from hls4attn.host.pynq_compat import active, import_pynq
from hls4attn.models.errors import DeviceError
from hls4attn.overlays import hwh, strict
from hls4attn.overlays.boards import Board, board
from hls4attn.overlays.design import OverlayDesign
from hls4attn.overlays.package import Package, read_package

import_pynq()  # explains itself where the imports below would not
import pynq  # noqa: E402
from pynq import ps  # noqa: E402
from pynq.buffer import PynqBuffer  # noqa: E402
from pynq.interrupt import _InterruptController  # noqa: E402


class EmulatedBuffer(PynqBuffer):
    """A buffer whose CPU copy and DDR copy differ until `flush` or `invalidate`, as with caches."""

    _owned = False  # set on what `allocate` returns, not on its views: they do not free

    def freebuffer(self) -> None:
        """Give the memory back; called by `with`, and when the buffer is collected."""
        if self._owned:
            self._owned = False
            self.device.free(self.bo)


class EmulatedDevice(pynq.Device):
    """A Zynq or Zynq UltraScale+ board emulated behind the device interface of PYNQ.

    Args:
        name: of a known board, or a `Board`.

    Attributes:
        computes: what overlays that bring no function compute with, see `connect`.
    """

    _probe_priority_ = 45  # unique among PYNQ's (40, 50, 100, 200): asked for explicitly, so before the real board

    @classmethod
    def _probe_(cls) -> list[EmulatedDevice]:
        name = os.environ.get(ENVIRONMENT)
        return [cls(name)] if name else []

    def __init__(self, name: str | Board = DEFAULT_BOARD) -> None:
        self.board = EmulatedBoard(name if isinstance(name, Board) else board(name))
        super().__init__(f"emulated:{self.board.board.name}")
        self.name = self.board.board.name
        self.computes = chosen_model()
        self.arch = "aarch64" if self.board.board.family == "zynquplus" else "armv7l"  # read by Clocks from 3.1
        self.capabilities = {"MEMORY_MAPPED": True}
        self._kernels: dict[str, Kernel | MakeCells | MakeKernels] = {}

    def register_kernel(self, design: OverlayDesign, kernel: Kernel | MakeCells | MakeKernels) -> None:
        """Say what the model of a design computes; an emulated board cannot take it from a bitstream.

        Args:
            design: its `model_id` selects the kernel when an overlay of the model is loaded.
            kernel: maps codes ``(N, *input.shape)`` to codes ``(N, *output.shape)``, both int64; of gain cells, makes
                the heads of a layer; of a bank of operators, makes their functions.
        """
        if not callable(kernel):
            raise DeviceError(f"A kernel is a function of codes. Received: {type(kernel).__name__}")
        self._kernels[design.model_id] = kernel

    def check_part(self, package: Package) -> None:
        """Refuse an overlay for another part.

        Raises:
            WrongPartError: naming both parts.
        """
        there, here = package.design.board, self.board.board
        if there.part != here.part:
            raise WrongPartError(
                f"{package.bit} is for {there.part} ({there.name}); {self.tag} has {here.part}. "
                f"Build the overlay for {here.name}, or connect to {there.name}"
            )

    # --- registers -------------------------------------------------------------------------------------

    def mmap(self, base_addr: int, length: int) -> RegisterArray:
        """Registers as an array; called by MMIO."""
        return RegisterArray.over(self.board, base_addr, length)

    # --- memory ----------------------------------------------------------------------------------------

    def allocate(self, shape: Any, dtype: Any, cacheable: bool = True, **_unused: Any) -> EmulatedBuffer:
        """A buffer in the emulated DDR; called by `pynq.allocate`.

        Raises:
            DeviceError: if the contiguous memory is exhausted.
        """
        shape = (int(shape),) if isinstance(shape, int | np.integer) else tuple(int(n) for n in shape)
        dtype = np.dtype(dtype)
        nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        address, memory = self.board.ddr.allocate(nbytes)
        cached = bytearray(nbytes) if cacheable else memory  # uncached: the CPU works on the memory itself
        buffer = EmulatedBuffer(
            shape,
            dtype,
            buffer=cached,
            device=self,
            device_address=address,
            bo=(cached, memory, address),
            coherent=not cacheable,
        )
        buffer._owned = True
        return buffer

    def free(self, bo: tuple[bytearray, bytearray, int]) -> None:
        """Free what `allocate` took."""
        self.board.ddr.free(bo[2])

    def flush(self, bo: Any, offset: int, vaddr: int, nbytes: int) -> None:
        """Make what the CPU wrote visible to the logic."""
        cached, memory, _ = self._live(bo)
        memory[offset : offset + nbytes] = cached[offset : offset + nbytes]

    def invalidate(self, bo: Any, offset: int, vaddr: int, nbytes: int) -> None:
        """Make what the logic wrote visible to the CPU."""
        cached, memory, _ = self._live(bo)
        cached[offset : offset + nbytes] = memory[offset : offset + nbytes]

    def _live(self, bo: tuple[bytearray, bytearray, int]) -> tuple[bytearray, bytearray, int]:
        if bo[2] not in self.board.ddr.live:
            raise DeviceError(f"The buffer at 0x{bo[2]:08x} was freed")
        return bo

    # --- overlays --------------------------------------------------------------------------------------

    def get_bitfile_metadata(self, bitfile_name: str, partial: bool = False) -> Any:
        """Parsed handoff beside a `.bit`; called by Overlay.

        Raises:
            DeviceError: for a partial bitstream, which is not emulated.
            ModelFileError: if there is no readable handoff.
        """
        if partial:
            raise DeviceError("Partial reconfiguration is not emulated")
        path = Path(bitfile_name).with_suffix(".hwh")
        hwh.parse_hwh(strict.read_bytes(path, hwh.MAX_BYTES), str(path))
        parser = _runtime_metadata(path)
        parameters = parser.ip_dict[parser.ps_name]["parameters"]
        for index, clock in parser.clock_dict.items():
            # 4.0 sets clocks by frequency, which its parser leaves None on Zynq-7000
            if "frequency" in clock and clock["frequency"] is None:
                clock["frequency"] = float(parameters[f"PCW_ACT_FPGA{index}_PERIPHERAL_FREQMHZ"])
        return parser

    def set_bitfile_name(self, bitfile_name: str) -> None:
        """Called first by Overlay, before it touches clocks or logic.

        Raises:
            DeviceError: if another overlay is open on this board.
        """
        refuse_if_busy(self)
        super().set_bitfile_name(bitfile_name)
        self._select_clocks()
        self._be_active()

    def download(self, bitstream: Any, parser: Any = None) -> None:
        """Configure the emulated logic; called by Overlay and Bitstream.

        Raises:
            DeviceError: if another overlay is open, the `.bit` is for another part, or no kernel was
                registered for its model.
            ModelFileError: if the overlay's files are missing, damaged or do not belong together.
        """
        refuse_if_busy(self)
        package = read_package(bitstream.bitfile_name)
        self.check_part(package)
        design = package.design
        kernel = self._kernels.get(design.model_id)
        if kernel is None:
            raise DeviceError(
                f"{self.tag} has no kernel for model {design.model_id[:16]}...: an emulated board needs "
                "the function that the logic computes. Pass kernel= to load_overlay, or call "
                "device.register_kernel first"
            )
        root = hwh.parse_hwh(strict.read_bytes(package.hwh, hwh.MAX_BYTES), str(package.hwh))
        self.board.program(design, root, kernel)
        parser = parser or self.get_bitfile_metadata(bitstream.bitfile_name)
        super().post_download(bitstream, parser, self.name)
        # PYNQ keeps controllers and lines by name and number, those of another board, too
        _InterruptController._controllers.clear()
        _InterruptController._uio_devices.update(self.open_interrupts())

    def open_interrupts(self) -> dict[int, EmulatedUio]:
        """The interrupt lines of the loaded overlay, each opened anew, by Linux's number of it."""
        controllers = (self.interrupt_controllers or {}).values()
        return {c["raw_irq"]: EmulatedUio(self.board) for c in controllers if c["parent"] == ""}

    def _be_active(self) -> None:
        """Be the active device if there is no other: PYNQ looks for interrupts on that one."""
        if "_active_device" in vars(pynq.Device):
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # "No devices found"
            if not pynq.Device.devices:
                pynq.Device.active_device = self

    def _select_clocks(self) -> None:
        """Point `pynq.Clocks` at this board: it keeps the registers of the first device for ever."""
        if "_real_instance" in vars(ps.Clocks):
            del ps.Clocks._real_instance
        if hasattr(ps.Clocks, "set_device"):  # 3.1 and later choose by device.arch
            ps.Clocks.set_device(self)
            return
        with active(self):  # 3.0 chooses by the CPU of this computer, and maps the active device
            zynq = self.board.board.family == "zynq"
            instance = ps._ClocksZynq if zynq else ps._ClocksUltrascale
            ps.Clocks._real_instance = instance(self.board.board.ps_clock_mhz)

    # --- what the base class would do on the computer itself -------------------------------------------

    def shutdown(self) -> None:
        """Nothing: the base class opens /sys/class/fpga_manager."""

    def gen_cache(self, bitstream: Any, parser: Any = None) -> None:
        """Nothing: the boards' class writes into the installed package."""

    def free_bitstream(self) -> None:
        """Nothing to free."""

    def close(self) -> None:
        """Nothing to close."""

    def get_memory(self, description: Any) -> EmulatedDevice:
        """Target of `allocate` for a memory of the design."""
        return self

    @property
    def default_memory(self) -> EmulatedDevice:
        """Target of `allocate`."""
        return self


def _runtime_metadata(path: Path) -> Any:
    from pynqmetadata.frontends import Metadata

    try:  # moved in 4.0
        from pynq.metadata.runtime_metadata_parser import RuntimeMetadataParser
    except ImportError:
        from pynqmetadata.views.runtime import RuntimeMetadataParser
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return RuntimeMetadataParser(Metadata(input=str(path)))
