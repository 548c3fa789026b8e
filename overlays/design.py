# SPDX-License-Identifier: Apache-2.0
"""One frozen description of an overlay, from which everything else about it derives.

The emulated `.hwh`, the register and address constants of the driver, and the Vivado script are all made
from an `OverlayDesign`, so they cannot disagree.

The IP is packet driven: started once with AP_START and AUTO_RESTART, it consumes whole samples until TLAST and emits
their outputs, TLAST on the last word.  What computes is an HLS kernel, or several, behind it; `drawing` has all cells.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from hls4attn.models.errors import Hls4attnError, ModelFileError, SpecError
from hls4attn.overlays import registers, strict
from hls4attn.overlays.addresses import ADDRESS_MAPS, AddressMap
from hls4attn.overlays.boards import Board
from hls4attn.overlays.clocks import PlClock, pl_clock
from hls4attn.overlays.ports import StreamPort

IP_VLNV = "hls4attn:hls:stream_model:1.0"
DMA_VLNV = "xilinx.com:ip:axi_dma:7.1"
GPIO_VLNV = "xilinx.com:ip:axi_gpio:2.0"
INTC_VLNV = "xilinx.com:ip:axi_intc:4.1"
GPIO, INTC, CONCAT, RESET = "axi_gpio_0", "axi_intc_0", "xlconcat_0", "proc_sys_reset_0"  # instances
SEGMENT_BYTES = 0x10000  # of each AXI-Lite slave in the address map

MAX_JSON_BYTES = 1 << 20
KIND = "hls4attn-overlay-design"
VERSION = 1
MAX_NAME = 64
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_MODEL_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class DmaSpec:
    """The AXI DMA: simple (direct register) mode, both channels, without realignment engine.

    Args:
        instance: name in the block design.
        length_width: bits of the length register (`c_sg_length_width`), 8 to 26.

    Raises:
        SpecError: for a name or width the IP does not take.
    """

    instance: str = "axi_dma_0"
    length_width: int = 26

    def __post_init__(self) -> None:
        _check_name("DMA instance", self.instance)
        if not 8 <= self.length_width <= 26:
            raise SpecError(f"c_sg_length_width must be 8 to 26. Received: {self.length_width}")

    @property
    def max_bytes(self) -> int:
        """Longest transfer in bytes: ``2**length_width - 1``."""
        return (1 << self.length_width) - 1


@dataclass(frozen=True)
class KernelPort:
    """One HLS kernel behind the IP: its streams of samples.

    Args:
        name: of the kernel's IP, unique in an overlay.
        input: a sample.
        output: its answer.
        user_bits: width of TUSER of its input; 0 if it has none.
    """

    name: str
    input: StreamPort
    output: StreamPort
    user_bits: int = 0

    def __post_init__(self) -> None:
        _check_name("Kernel name", self.name)

    @property
    def vlnv(self) -> str:
        """Vendor, library, name and version of its IP."""
        return f"hls4attn:hls:{self.name}:1.0"

    @property
    def instance(self) -> str:
        """Its name in the block design."""
        return f"{self.name}_0"


@dataclass(frozen=True)
class OverlayDesign:
    """An overlay that runs one model.

    Args:
        name: of the overlay and its files: letters, digits and underscores.
        board: it is built for.
        clock_mhz: requested PL clock in MHz; `clock` is the one the board makes of it.
        model_id: SHA-256 of the model file, 64 lower-case hexadecimal digits.
        input: what the model takes.
        output: what it gives.
        ip: instance name of the model IP in the block design.
        dma: the AXI DMA.

    Raises:
        SpecError: for values that cannot be built, naming the field.
    """

    name: str
    board: Board
    clock_mhz: float
    model_id: str
    input: StreamPort
    output: StreamPort
    ip: str = "stream_model_0"
    dma: DmaSpec = field(default_factory=DmaSpec)

    kind: ClassVar[str] = KIND
    ip_vlnv: ClassVar[str] = IP_VLNV
    ip_registers: ClassVar[tuple[registers.Register, ...]] = registers.IP_REGISTERS
    further: ClassVar[Mapping[str, strict.Kind]] = {}  # keys that `to_dict` of a special design adds

    def __post_init__(self) -> None:
        _check_name("Overlay name", self.name)
        _check_name("IP instance", self.ip)
        check_model_id(self.model_id)
        fixed = (GPIO, INTC, CONCAT, RESET, self.addresses.ps_instance)
        instances = [self.ip, self.dma.instance, *(kernel.instance for kernel in self.kernels), *fixed]
        double = sorted({name for name in instances if instances.count(name) > 1})
        if double:
            raise SpecError(f"Cells need different instance names. Received twice: {', '.join(double)}")
        for side, port in (("input", self.input), ("output", self.output)):
            if port.sample_bytes > self.dma.max_bytes:
                raise SpecError(
                    f"One {side} sample is {port.sample_bytes} bytes, above the DMA's limit "
                    f"of {self.dma.max_bytes} (c_sg_length_width {self.dma.length_width})"
                )
        pl_clock(self.board, self.clock_mhz)  # refuses a clock the board cannot make

    @property
    def clock(self) -> PlClock:
        """The PL clock that the board really makes."""
        return pl_clock(self.board, self.clock_mhz)

    @property
    def addresses(self) -> AddressMap:
        """Address map of the board's family."""
        return ADDRESS_MAPS[self.board.family]

    @property
    def kernels(self) -> tuple[KernelPort, ...]:
        """The HLS kernels behind the IP, in the order of their numbers."""
        return (KernelPort(f"{self.name}_kernel"[:MAX_NAME], self.input, self.output),)

    @property
    def model_id_words(self) -> tuple[int, int]:
        """First 64 bits of `model_id` as the registers MODEL_ID_LO and MODEL_ID_HI show them."""
        first = int(self.model_id[:16], 16)
        return first & 0xFFFFFFFF, first >> 32

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `from_dict` restores an equal object."""
        return {
            "kind": self.kind,
            "version": VERSION,
            "name": self.name,
            "board": self.board.to_dict(),
            "clock_mhz": self.clock_mhz,
            "model_id": self.model_id,
            "input": self.input.to_dict(),
            "output": self.output.to_dict(),
            "ip": self.ip,
            "dma": {"instance": self.dma.instance, "length_width": self.dma.length_width},
        }

    @classmethod
    def from_dict(cls, data: Any, where: str = "overlay design") -> OverlayDesign:
        """The inverse of `to_dict`; `where` names the source in errors.

        Raises:
            ModelFileError: for anything that is not exactly a valid design.
        """
        if isinstance(data, dict) and (data.get("kind"), data.get("version")) != (cls.kind, VERSION):
            raise ModelFileError(
                f"{where}: not an overlay design of version {VERSION}. "
                f"Received: kind={data.get('kind')!r:.60}, version={data.get('version')!r:.20}"
            )
        top: dict[str, strict.Kind] = dict.fromkeys(("kind", "name", "model_id", "ip"), str)
        top |= dict.fromkeys(("board", "input", "output", "dma"), dict)
        data = strict.fields(data, where, {**top, "version": int, "clock_mhz": strict.NUMBER, **cls.further})
        dma = strict.fields(data["dma"], f"{where}: dma", {"instance": str, "length_width": int})
        try:
            return cls(
                name=data["name"],
                board=Board.from_dict(data["board"], f"{where}: board"),
                clock_mhz=float(data["clock_mhz"]),
                model_id=data["model_id"],
                input=StreamPort.from_dict(data["input"], f"{where}: input"),
                output=StreamPort.from_dict(data["output"], f"{where}: output"),
                ip=data["ip"],
                dma=DmaSpec(**dma),
                **cls._further_fields(data, where),
            )
        except ModelFileError:
            raise
        except (Hls4attnError, OverflowError) as error:
            raise ModelFileError(f"{where}: {error}") from error

    @classmethod
    def _further_fields(cls, data: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Fields of a special design, from its further keys."""
        return {}

    def to_json(self) -> str:
        """The design as JSON text."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, where: str = "overlay design") -> OverlayDesign:
        """The inverse of `to_json`.

        Raises:
            ModelFileError: if the text is too long, not JSON, or not exactly a valid design.
        """
        if len(text) > MAX_JSON_BYTES:
            raise ModelFileError(f"{where}: {len(text)} characters; at most {MAX_JSON_BYTES} are accepted")
        return cls.from_dict(strict.parse_json(text, where), where)


def check_model_id(model_id: str) -> None:
    """Refuse what is no SHA-256.

    Raises:
        SpecError: saying what was received.
    """
    if not _MODEL_ID.fullmatch(model_id):
        raise SpecError(
            f"model_id must be the SHA-256 of the model file as 64 lower-case hex digits. Received: {model_id!r:.80}"
        )


def _check_name(what: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise SpecError(f"{what} must be a letter, then letters, digits or underscores. Received: {name!r:.80}")
