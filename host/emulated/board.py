# SPDX-License-Identifier: Apache-2.0
"""A whole board: processing-system registers, memory, and the logic that an overlay configures."""

from __future__ import annotations

import threading
import weakref
from typing import Protocol
from xml.etree import ElementTree as ET

from hls4attn.host.emulated.blocks import RegisterBlock, clock_blocks, width_blocks
from hls4attn.host.emulated.cells import MakeCells
from hls4attn.host.emulated.ddr import Ddr
from hls4attn.host.emulated.errors import BusError
from hls4attn.host.emulated.faults import Fault, Faults
from hls4attn.host.emulated.intc import AxiIntc
from hls4attn.host.emulated.kernel import Kernel
from hls4attn.host.emulated.logic import build_logic
from hls4attn.host.emulated.operators import MakeKernels
from hls4attn.overlays.boards import Board
from hls4attn.overlays.design import OverlayDesign

CMA_BASE = {"zynq": 0x10000000, "zynquplus": 0x20000000}
WORD = 0xFFFFFFFF


class Listener(Protocol):
    """Who wants to know of changes: an interrupt line."""

    def changed(self) -> None:
        """Called after a write, by the thread that wrote."""


class EmulatedBoard:
    """Address map and behaviour of a board.  Threads may share it: an access is one step.

    Args:
        board: which one.
    """

    def __init__(self, board: Board) -> None:
        self.board = board
        self.ddr = Ddr(CMA_BASE[board.family], board.cma_mb << 20)
        self.faults = Faults()
        self.programmed: str | None = None
        self._ps = [*clock_blocks(board), *width_blocks(board)]
        self._pl: list[RegisterBlock] = []
        self._lock = threading.RLock()
        self._listeners: weakref.WeakSet[Listener] = weakref.WeakSet()

    def read32(self, address: int) -> int:
        """Read a register, after the logic has moved on by one step.

        Raises:
            BusError: if nothing answers at the address.
            EmulationDeadlock: if the host polls for what can never happen.
            DeviceError: if the kernel function fails.
        """
        with self._lock:
            self.tick()
            block = self._at(address)
            if block in self._pl and self.faults.take(Fault.ALL_ONES):
                return WORD
            return block.read32(address - block.base) & WORD

    def write32(self, address: int, value: int) -> None:
        """Write a register; raises as `read32`."""
        with self._lock:
            block = self._at(address)
            block.write32(address - block.base, value & WORD)
            self.tick()
            listeners = list(self._listeners)
        for listener in listeners:
            listener.changed()

    def tick(self) -> bool:
        """Let the logic move on by one step; true on progress."""
        with self._lock:
            moved = [block.tick() for block in self._pl]
        return any(moved)

    @property
    def irq(self) -> bool:
        """Level of the interrupt to the processing system."""
        return any(isinstance(block, AxiIntc) and block.irq for block in self._pl)

    def listen(self, listener: Listener) -> None:
        """Tell somebody after every write that something may have changed, as long as it lives."""
        with self._lock:
            self._listeners.add(listener)

    def program(self, design: OverlayDesign, hwh: ET.Element, kernel: Kernel | MakeCells | MakeKernels) -> None:
        """Configure the logic from a hardware handoff; a failure leaves the old configuration.

        Args:
            design: ports and model id of the IP.
            hwh: root element of the handoff; instances, addresses, streams and interrupts are taken from it.
            kernel: what the model IP computes, or what makes the heads of a gain-cell IP or the functions of a bank.

        Raises:
            DeviceError: if the handoff holds an IP without a model, or no complete loop of streams.
        """
        blocks = build_logic(design, hwh, kernel, self.ddr)
        for block in blocks:
            block.faults = self.faults
        with self._lock:
            self._pl = blocks
            self.programmed = design.name

    def block(self, instance: str) -> RegisterBlock | None:
        """The model of a cell of the overlay that is loaded."""
        return next((block for block in self._pl if block.name == instance), None)

    def _at(self, address: int) -> RegisterBlock:
        for block in (*self._pl, *self._ps):
            if not block.base <= address < block.base + block.size:
                continue
            if block in self._pl and self.faults.take(Fault.NO_BUS):
                break
            return block
        design = f"overlay {self.programmed}" if self.programmed else "no overlay loaded"
        raise BusError(f"Nothing answers at 0x{address:08x} (emulated {self.board.name}, {design})")
