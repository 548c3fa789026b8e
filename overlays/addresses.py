# SPDX-License-Identifier: Apache-2.0
"""Where the cells of an overlay are in the address map of each family, and the names of the ports they use."""

from __future__ import annotations

from dataclasses import dataclass

from hls4attn.overlays.boards import Family


@dataclass(frozen=True)
class AddressMap:
    """Base addresses of the AXI-Lite slaves and names of the PS ports, fixed per family.

    `bus_clocks` are the clock inputs of `master` and `memory`.
    """

    dma: int
    ip: int
    gpio: int
    intc: int
    ps_instance: str
    ps_vlnv: str
    master: str
    memory: str
    memory_segment: str
    memory_bytes: int
    clock_port: str
    reset_port: str
    interrupt_port: str
    bus_clocks: tuple[str, str]
    address_bits: int


ADDRESS_MAPS: dict[Family, AddressMap] = {
    "zynq": AddressMap(
        dma=0x40400000,
        ip=0x40000000,
        gpio=0x41200000,
        intc=0x41800000,
        ps_instance="processing_system7_0",
        ps_vlnv="xilinx.com:ip:processing_system7:5.5",
        master="M_AXI_GP0",
        memory="S_AXI_HP0",
        memory_segment="HP0_DDR_LOWOCM",
        memory_bytes=0x20000000,
        clock_port="FCLK_CLK0",
        reset_port="FCLK_RESET0_N",
        interrupt_port="IRQ_F2P",
        bus_clocks=("M_AXI_GP0_ACLK", "S_AXI_HP0_ACLK"),
        address_bits=32,
    ),
    "zynquplus": AddressMap(
        dma=0xA0000000,
        ip=0xA0010000,
        gpio=0xA0020000,
        intc=0xA0030000,
        ps_instance="zynq_ultra_ps_e_0",
        ps_vlnv="xilinx.com:ip:zynq_ultra_ps_e:3.5",
        master="M_AXI_HPM0_FPD",
        memory="S_AXI_HP0_FPD",
        memory_segment="HP0_DDR_LOW",
        memory_bytes=0x80000000,
        clock_port="pl_clk0",
        reset_port="pl_resetn0",
        interrupt_port="pl_ps_irq0",
        bus_clocks=("maxihpm0_fpd_aclk", "saxihp0_fpd_aclk"),
        address_bits=40,
    ),
}
