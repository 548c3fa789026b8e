# SPDX-License-Identifier: Apache-2.0
# The IPs that overlays use: parameters, pins, interfaces.  Names from the product guides of each IP (PG021 axi_dma,
# PG144 axi_gpio, PG099 axi_intc, PG247 smartconnect, PG164 proc_sys_reset, PG082 and PG201 processing systems).

namespace eval dry {
    variable ips       ;# vlnv -> dictionary: since until parameters pins interfaces
    array set ips {}
    variable entry
}

# `body` uses parameters, in, out, slave and master.  `since` and `until`: versions of Vivado that have it.
proc dry::ip {vlnv since until body} {
    variable ips
    variable entry [dict create vlnv $vlnv since $since until $until parameters {} pins {} interfaces {}]
    namespace eval ::dry $body
    set ips($vlnv) $entry
}

proc dry::parameters {values} {
    variable entry
    dict set entry parameters [dict merge [dict get $entry parameters] $values]
}

# kinds: clk, rst, intr, data.  `required` inputs must be driven.  `when`: over the parameters; `width` likewise.
proc dry::in {name kind required {when 1} {width 0}} {
    variable entry
    dict set entry pins $name [dict create dir in kind $kind required $required when $when width $width]
}

proc dry::out {name kind {when 1} {width 0}} {
    variable entry
    dict set entry pins $name [dict create dir out kind $kind required 0 when $when width $width]
}

# protocols: axis, aximm, other.  `segments` of a slave: group, then names.  `space` of a master: name, base, bytes.
proc dry::slave {name protocol required {when 1} {segments {}} {bits 0}} {
    variable entry
    dict set entry interfaces $name \
        [dict create mode slave protocol $protocol required $required when $when segments $segments space {} bits $bits]
}

proc dry::master {name protocol required {when 1} {space {}} {bits 0}} {
    variable entry
    dict set entry interfaces $name \
        [dict create mode master protocol $protocol required $required when $when segments {} space $space bits $bits]
}

dry::ip xilinx.com:ip:axi_dma:7.1 2020.1 9999 {
    parameters {
        c_include_sg 1 c_sg_length_width 14 c_micro_dma 0 c_addr_width 32 c_include_mm2s 1 c_include_s2mm 1
        c_include_mm2s_dre 0 c_include_s2mm_dre 0 c_m_axi_mm2s_data_width 32 c_m_axi_s2mm_data_width 32
        c_m_axis_mm2s_tdata_width 32 c_mm2s_burst_size 16 c_s2mm_burst_size 16 c_sg_include_stscntrl_strm 1
        c_prmry_is_aclk_async 0 c_enable_multi_channel 0 c_sg_use_stsapp_length 0
    }
    in s_axi_lite_aclk clk 1
    in m_axi_sg_aclk clk 1 {$c_include_sg}
    in m_axi_mm2s_aclk clk 1 {$c_include_mm2s}
    in m_axi_s2mm_aclk clk 1 {$c_include_s2mm}
    in axi_resetn rst 1
    foreach {name when} {mm2s {$c_include_mm2s} s2mm {$c_include_s2mm}} {
        out ${name}_prmry_reset_out_n rst $when 1
        out ${name}_introut intr $when 1
    }
    slave S_AXI_LITE aximm 1 1 {S_AXI_LITE Reg}
    master M_AXI_SG aximm 1 {$c_include_sg} {Data_SG 0 0}
    master M_AXI_MM2S aximm 1 {$c_include_mm2s} {Data_MM2S 0 0}
    master M_AXI_S2MM aximm 1 {$c_include_s2mm} {Data_S2MM 0 0}
    master M_AXIS_MM2S axis 1 {$c_include_mm2s} {} {$c_m_axis_mm2s_tdata_width}
    slave S_AXIS_S2MM axis 1 {$c_include_s2mm}
}

dry::ip xilinx.com:ip:axi_gpio:2.0 2020.1 9999 {
    parameters {
        C_GPIO_WIDTH 32 C_GPIO2_WIDTH 32 C_IS_DUAL 0 C_ALL_INPUTS 0 C_ALL_INPUTS_2 0 C_ALL_OUTPUTS 0 C_ALL_OUTPUTS_2 0
        C_INTERRUPT_PRESENT 0 C_DOUT_DEFAULT 0 C_DOUT_DEFAULT_2 0 C_TRI_DEFAULT 0xFFFFFFFF C_TRI_DEFAULT_2 0xFFFFFFFF
    }
    in s_axi_aclk clk 1
    in s_axi_aresetn rst 1
    in gpio_io_i data 0 {!$C_ALL_OUTPUTS} {$C_GPIO_WIDTH}
    out gpio_io_o data {!$C_ALL_INPUTS} {$C_GPIO_WIDTH}
    in gpio2_io_i data 0 {$C_IS_DUAL && !$C_ALL_OUTPUTS_2} {$C_GPIO2_WIDTH}
    out gpio2_io_o data {$C_IS_DUAL && !$C_ALL_INPUTS_2} {$C_GPIO2_WIDTH}
    out ip2intc_irpt intr {$C_INTERRUPT_PRESENT} 1
    slave S_AXI aximm 1 1 {S_AXI Reg}
    master GPIO other 0
    master GPIO2 other 0 {$C_IS_DUAL}
}

dry::ip xilinx.com:ip:axi_intc:4.1 2020.1 9999 {
    parameters {C_IRQ_CONNECTION 0 C_HAS_FAST 0 C_KIND_OF_INTR 0 C_KIND_OF_LVL 0 C_NUM_SW_INTR 0 C_EN_CASCADE_MODE 0}
    in s_axi_aclk clk 1
    in s_axi_aresetn rst 1
    in intr intr 1
    out irq intr {$C_IRQ_CONNECTION == 1} 1
    slave s_axi aximm 1 1 {S_AXI Reg}
    master interrupt other 0
}

dry::ip xilinx.com:ip:smartconnect:1.0 2020.1 9999 {
    parameters {NUM_SI 1 NUM_MI 1 NUM_CLKS 1 HAS_ARESETN 1}
    in aclk clk 1
    in aclk1 clk 1 {$NUM_CLKS > 1}
    in aresetn rst 1 {$HAS_ARESETN}
    for {set i 0} {$i < 16} {incr i} {
        slave [format S%02d_AXI $i] aximm 1 "\$NUM_SI > $i"
        master [format M%02d_AXI $i] aximm 1 "\$NUM_MI > $i"
    }
}

dry::ip xilinx.com:ip:proc_sys_reset:5.0 2020.1 9999 {
    parameters {C_EXT_RST_WIDTH 4 C_AUX_RST_WIDTH 4 C_NUM_BUS_RST 1 C_NUM_PERP_RST 1}
    in slowest_sync_clk clk 1
    in ext_reset_in rst 1
    in aux_reset_in rst 0
    in mb_debug_sys_rst rst 0
    in dcm_locked data 0
    foreach name {mb_reset bus_struct_reset peripheral_reset interconnect_aresetn peripheral_aresetn} {
        out $name rst 1 1
    }
}

foreach {dry_concat dry_since} {xilinx.com:ip:xlconcat:2.1 2020.1 xilinx.com:inline_hdl:ilconcat:1.0 2024.2} {
    dry::ip $dry_concat $dry_since 9999 {
        parameters {NUM_PORTS 2}
        for {set i 0} {$i < 32} {incr i} {
            parameters [list IN${i}_WIDTH 1]
            in In$i intr 1 "\$NUM_PORTS > $i" "\$IN${i}_WIDTH"
        }
        out dout intr 1 {$NUM_PORTS}
    }
}

dry::ip xilinx.com:ip:processing_system7:5.5 2020.1 9999 {
    parameters {
        PCW_USE_M_AXI_GP0 1 PCW_USE_M_AXI_GP1 0 PCW_USE_FABRIC_INTERRUPT 0 PCW_IRQ_F2P_INTR 0
        PCW_FCLK0_PERIPHERAL_CLKSRC {IO PLL} PCW_FPGA0_PERIPHERAL_FREQMHZ 50
    }
    for {set i 0} {$i < 4} {incr i} {
        parameters [list PCW_EN_CLK${i}_PORT [expr {$i == 0}] PCW_EN_RST${i}_PORT [expr {$i == 0}]]
        parameters [list PCW_USE_S_AXI_HP$i 0 PCW_S_AXI_HP${i}_DATA_WIDTH 64]
        out FCLK_CLK$i clk "\$PCW_EN_CLK${i}_PORT" 1
        out FCLK_RESET${i}_N rst "\$PCW_EN_RST${i}_PORT" 1
        in S_AXI_HP${i}_ACLK clk 1 "\$PCW_USE_S_AXI_HP$i"
        slave S_AXI_HP$i aximm 1 "\$PCW_USE_S_AXI_HP$i" [list S_AXI_HP$i HP${i}_DDR_LOWOCM]
    }
    in IRQ_F2P intr 0 {$PCW_USE_FABRIC_INTERRUPT && $PCW_IRQ_F2P_INTR} 1
    in M_AXI_GP0_ACLK clk 1 {$PCW_USE_M_AXI_GP0}
    in M_AXI_GP1_ACLK clk 1 {$PCW_USE_M_AXI_GP1}
    master M_AXI_GP0 aximm 1 {$PCW_USE_M_AXI_GP0} {Data 0x40000000 0x40000000}
    master M_AXI_GP1 aximm 1 {$PCW_USE_M_AXI_GP1} {Data 0x80000000 0x40000000}
    master DDR other 1
    master FIXED_IO other 1
}

# Its revision differs between the versions that are supported, so that a script that names one is found.
foreach {dry_revision dry_since dry_until} {3.3 2020.1 2021.2 3.4 2022.1 2022.2 3.5 2023.1 9999} {
    dry::ip xilinx.com:ip:zynq_ultra_ps_e:$dry_revision $dry_since $dry_until {
        parameters {
            PSU__USE__IRQ0 1 PSU__USE__IRQ1 0 PSU__USE__FABRIC__RST 1 PSU__NUM_FABRIC_RESETS 1
            PSU__CRL_APB__PL0_REF_CTRL__SRCSEL IOPLL PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ 100
            PSU__OVERRIDE__BASIC_CLOCK 0
        }
        for {set i 0} {$i < 4} {incr i} {
            parameters [list PSU__FPGA_PL${i}_ENABLE [expr {$i == 0}]]
            out pl_clk$i clk "\$PSU__FPGA_PL${i}_ENABLE" 1
        }
        out pl_resetn0 rst {$PSU__USE__FABRIC__RST} 1
        in pl_ps_irq0 intr 0 {$PSU__USE__IRQ0} 1
        in pl_ps_irq1 intr 0 {$PSU__USE__IRQ1} 1
        foreach {i port clock base bytes} {
            0 M_AXI_HPM0_FPD maxihpm0_fpd_aclk 0xA0000000 0x10000000
            1 M_AXI_HPM1_FPD maxihpm1_fpd_aclk 0xB0000000 0x10000000
            2 M_AXI_HPM0_LPD maxihpm0_lpd_aclk 0x80000000 0x20000000
        } {
            parameters [list PSU__USE__M_AXI_GP$i [expr {$i < 2}] PSU__MAXIGP${i}__DATA_WIDTH 128]
            in $clock clk 1 "\$PSU__USE__M_AXI_GP$i"
            master $port aximm 1 "\$PSU__USE__M_AXI_GP$i" [list Data $base $bytes]
        }
        foreach {i port clock memory} {
            0 S_AXI_HPC0_FPD saxihpc0_fpd_aclk HPC0 1 S_AXI_HPC1_FPD saxihpc1_fpd_aclk HPC1
            2 S_AXI_HP0_FPD saxihp0_fpd_aclk HP0 3 S_AXI_HP1_FPD saxihp1_fpd_aclk HP1
            4 S_AXI_HP2_FPD saxihp2_fpd_aclk HP2 5 S_AXI_HP3_FPD saxihp3_fpd_aclk HP3
            6 S_AXI_LPD saxi_lpd_aclk LPD
        } {
            parameters [list PSU__USE__S_AXI_GP$i 0 PSU__SAXIGP${i}__DATA_WIDTH 128]
            in $clock clk 1 "\$PSU__USE__S_AXI_GP$i"
            slave $port aximm 1 "\$PSU__USE__S_AXI_GP$i" \
                [list SAXIGP$i ${memory}_DDR_LOW ${memory}_DDR_HIGH ${memory}_QSPI ${memory}_LPS_OCM]
        }
    }
}

# Catalogue of the Vivado that is played: built-in IPs of its version, and those of the repositories.
proc dry::has_ip {vlnv} {
    variable ips
    variable setup
    if {![info exists ips($vlnv)] || [join [lrange [split $vlnv :] 0 2] :] in [dict get $setup without]} {
        return 0
    }
    set release [dict get $setup release]
    return [expr {$release >= [dict get $ips($vlnv) since] && $release <= [dict get $ips($vlnv) until]}]
}

dry::command vivado get_ipdefs {-all} {-filter} {
    set found {}
    foreach vlnv [lsort [array names ::dry::ips]] {
        if {[::dry::has_ip $vlnv]} {
            foreach pattern $words {
                if {[string match $pattern $vlnv]} {
                    lappend found [::dry::object ipdef $vlnv]
                    set ::dry::properties(ipdef,$vlnv,vlnv) $vlnv
                }
            }
        }
    }
    return $found
}
