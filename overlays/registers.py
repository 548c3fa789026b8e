# SPDX-License-Identifier: Apache-2.0
"""AXI-Lite registers of our IPs and of the AXI DMA, once for the .hwh, the driver, the emulator and the Verilog."""

from __future__ import annotations

from dataclasses import dataclass

# --- model IP ------------------------------------------------------------------------------------------
CTRL = 0x00
MODEL_ID_LO = 0x10
MODEL_ID_HI = 0x18
SAMPLES = 0x20
#: 64 bits: clock cycles with a packet under way, from its first word in to its last word out, since the reset.
CYCLES_LO = 0x28
CYCLES_HI = 0x30

# --- the bank of operators' further register: which one the next packet is for ---------------------------
SELECT = 0x38

# --- the gain cells' further registers; SAMPLES counts their tokens --------------------------------------
LAYER = 0x38
COMMAND = 0x40
FILLED = 0x48
TABLE_ADDRESS = 0x50
TABLE_DATA = 0x58
ERROR = 0x60

CLEAR = 1 << 0
CLEAR_ALL = 1 << 1
USE_TABLE = 1 << 2

BUSY_ERROR = 1 << 0
LAYER_ERROR = 1 << 1
TABLE_ERROR = 1 << 2
PACKET_ERROR = 1 << 3

AP_START = 1 << 0
AP_DONE = 1 << 1
AP_IDLE = 1 << 2
AP_READY = 1 << 3
AUTO_RESTART = 1 << 7

# --- AXI DMA, direct register mode (PG021): the S2MM channel repeats the MM2S registers at +0x30 --------
MM2S = 0x00
S2MM = 0x30
DMACR = 0x00
DMASR = 0x04
ADDRESS = 0x18
ADDRESS_MSB = 0x1C
LENGTH = 0x28

CR_RUN = 1 << 0
CR_RESET = 1 << 2
SR_HALTED = 1 << 0
SR_IDLE = 1 << 1
SR_INTERNAL_ERROR = 1 << 4
SR_SLAVE_ERROR = 1 << 5
SR_DECODE_ERROR = 1 << 6
SR_ERRORS = SR_INTERNAL_ERROR | SR_SLAVE_ERROR | SR_DECODE_ERROR
SR_COMPLETE_IRQ = 1 << 12
SR_ERROR_IRQ = 1 << 14
SR_IRQS = 0x7000  # write 1 to clear


@dataclass(frozen=True)
class Field:
    """A bit field of a register."""

    name: str
    offset: int
    width: int = 1
    access: str = "read-write"


@dataclass(frozen=True)
class Register:
    """A 32-bit register as an .hwh describes it."""

    name: str
    offset: int
    access: str = "read-write"
    fields: tuple[Field, ...] = ()


def _number(name: str, offset: int, access: str = "read-only") -> Register:
    return Register(name, offset, access, (Field(name.lower(), 0, 32, access),))


IP_REGISTERS = (
    Register(
        "CTRL",
        CTRL,
        fields=(
            Field("AP_START", 0),
            Field("AP_DONE", 1, access="read-only"),
            Field("AP_IDLE", 2, access="read-only"),
            Field("AP_READY", 3, access="read-only"),
            Field("AUTO_RESTART", 7),
        ),
    ),
    _number("MODEL_ID_LO", MODEL_ID_LO),
    _number("MODEL_ID_HI", MODEL_ID_HI),
    _number("SAMPLES", SAMPLES),
    _number("CYCLES_LO", CYCLES_LO),
    _number("CYCLES_HI", CYCLES_HI),
)

OPERATOR_REGISTERS = (*IP_REGISTERS, _number("SELECT", SELECT, "read-write"))

#: A command is done at once; all of them are refused while a packet's results have not left (BUSY).
CELL_REGISTERS = (
    *IP_REGISTERS[:3],
    _number("TOKENS", SAMPLES),
    *IP_REGISTERS[4:],
    _number("LAYER", LAYER, "read-write"),
    Register(
        "COMMAND",
        COMMAND,
        "write-only",
        (
            Field("CLEAR", 0, access="write-only"),
            Field("CLEAR_ALL", 1, access="write-only"),
            Field("USE_TABLE", 2, access="write-only"),
        ),
    ),
    _number("FILLED", FILLED),
    _number("TABLE_ADDRESS", TABLE_ADDRESS, "read-write"),
    _number("TABLE_DATA", TABLE_DATA, "write-only"),
    Register("ERROR", ERROR, fields=(Field("BUSY", 0), Field("LAYER", 1), Field("TABLE", 2), Field("PACKET", 3))),
)

_CONTROL = (Field("RS", 0), Field("Reset", 2), Field("IOC_IrqEn", 12), Field("Err_IrqEn", 14))
_STATUS = (
    Field("Halted", 0, access="read-only"),
    Field("Idle", 1, access="read-only"),
    Field("DMAIntErr", 4, access="read-only"),
    Field("DMASlvErr", 5, access="read-only"),
    Field("DMADecErr", 6, access="read-only"),
    Field("IOC_Irq", 12),
    Field("Err_Irq", 14),
)
DMA_REGISTERS = tuple(
    register
    for name, base, address in (("MM2S", MM2S, "SA"), ("S2MM", S2MM, "DA"))
    for register in (
        Register(f"{name}_DMACR", base + DMACR, fields=_CONTROL),
        Register(f"{name}_DMASR", base + DMASR, fields=_STATUS),
        Register(f"{name}_{address}", base + ADDRESS),
        Register(f"{name}_{address}_MSB", base + ADDRESS_MSB),
        Register(f"{name}_LENGTH", base + LENGTH),
    )
)

# --- AXI GPIO (PG144): channel 1 drives channel 2 ---------------------------------------------------------
GPIO_DATA = 0x00
GPIO_TRI = 0x04
GPIO2_DATA = 0x08
GPIO2_TRI = 0x0C

GPIO_REGISTERS = (
    Register("GPIO_DATA", GPIO_DATA),
    Register("GPIO_TRI", GPIO_TRI),
    Register("GPIO2_DATA", GPIO2_DATA),
    Register("GPIO2_TRI", GPIO2_TRI),
)

# --- AXI interrupt controller (PG099) ---------------------------------------------------------------------
ISR = 0x00
IPR = 0x04
IER = 0x08
IAR = 0x0C
SIE = 0x10
CIE = 0x14
IVR = 0x18
MER = 0x1C

INTC_REGISTERS = (
    Register("ISR", ISR),
    Register("IPR", IPR, "read-only"),
    Register("IER", IER),
    Register("IAR", IAR, "write-only"),
    Register("SIE", SIE, "write-only"),
    Register("CIE", CIE, "write-only"),
    Register("IVR", IVR, "read-only"),
    Register("MER", MER, fields=(Field("ME", 0), Field("HIE", 1))),
)


def status_words(status: int) -> str:
    """A DMASR value in words, such as `halted, internal error (...)`."""
    words = {
        SR_HALTED: "halted",
        SR_IDLE: "idle",
        SR_INTERNAL_ERROR: "internal error (length 0, or a packet longer than the receive buffer)",
        SR_SLAVE_ERROR: "slave error (the memory answered with an error)",
        SR_DECODE_ERROR: "decode error (nothing answers at that memory address)",
    }
    found = [text for bit, text in words.items() if status & bit]
    return f"{', '.join(found) or 'running'} (DMASR 0x{status:08x})"


def error_words(errors: int) -> str:
    """What the bits of the gain cells' ERROR register say."""
    words = {
        BUSY_ERROR: "a command came while a packet was under way, and was not done",
        LAYER_ERROR: "LAYER is beyond the last layer, and was not written",
        TABLE_ERROR: "a table was given too many, too few or too large words, and was not used",
        PACKET_ERROR: "a packet ended inside a token, which was dropped",
    }
    return "; ".join(text for bit, text in words.items() if errors & bit)
