# SPDX-License-Identifier: Apache-2.0
"""Parameters of the processing system, as handoffs name them: clocks, ports and interrupts."""

from __future__ import annotations

from hls4attn.overlays.boards import Family
from hls4attn.overlays.design import OverlayDesign

OFF_DIVISOR = 63  # of a PL clock that is switched off


def clock_parameter(family: Family) -> str:
    """Name of the parameter with the frequency in MHz that PL clock 0 really has."""
    return "PSU__CRL_APB__PL0_REF_CTRL__ACT_FREQMHZ" if family == "zynquplus" else "PCW_ACT_FPGA0_PERIPHERAL_FREQMHZ"


def port_width(family: Family) -> str:
    """Name of the parameter with the width of the port to the memory."""
    return "C_SAXIGP2_DATA_WIDTH" if family == "zynquplus" else "C_S_AXI_HP0_DATA_WIDTH"


def ps_parameters(design: OverlayDesign) -> dict[str, object]:
    """Parameters by name.

    All four PL clocks are there: PYNQ reads the dividers even of those that are switched off.
    """
    plus = design.board.family == "zynquplus"
    found: dict[str, object] = {}
    for number in range(4):
        found |= _plus_clock(design, number) if plus else _zynq_clock(design, number)
    found[port_width(design.board.family)] = design.board.hp_width
    if plus:
        return found | {"PSU__USE__S_AXI_GP2": 1, "PSU__USE__IRQ0": 1}
    return found | {"PCW_USE_S_AXI_HP0": 1, "PCW_USE_FABRIC_INTERRUPT": 1, "PCW_IRQ_F2P_INTR": 1}


def _dividers(design: OverlayDesign, number: int) -> tuple[int, int, float]:
    clock = design.clock
    return (clock.div0, clock.div1, clock.mhz) if number == 0 else (OFF_DIVISOR, 1, 0)


def _plus_clock(design: OverlayDesign, number: int) -> dict[str, object]:
    control = f"PSU__CRL_APB__PL{number}_REF_CTRL__"
    div0, div1, mhz = _dividers(design, number)
    return {
        f"PSU__FPGA_PL{number}_ENABLE": int(number == 0),
        control + "DIVISOR0": div0,
        control + "DIVISOR1": div1,
        control + "SRCSEL": "IOPLL",
        control + "ACT_FREQMHZ": mhz,
    }


def _zynq_clock(design: OverlayDesign, number: int) -> dict[str, object]:
    div0, div1, mhz = _dividers(design, number)
    return {
        f"PCW_FPGA_FCLK{number}_ENABLE": int(number == 0),
        f"PCW_FCLK{number}_PERIPHERAL_DIVISOR0": div0,
        f"PCW_FCLK{number}_PERIPHERAL_DIVISOR1": div1,
        f"PCW_FCLK{number}_PERIPHERAL_CLKSRC": "IO PLL",
        f"PCW_ACT_FPGA{number}_PERIPHERAL_FREQMHZ": mhz,
    }
