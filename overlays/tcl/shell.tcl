# SPDX-License-Identifier: Apache-2.0
# Packages the Verilog of the shell as an IP with its registers, which the handoff then lists for the host.

proc hls4attn::stage_shell {} {
    variable rtl
    set core [package_verilog $rtl]
    describe_registers $core
    finish_core $core
}

# The packager makes a block of its own without registers; with two blocks PYNQ would know no register map.
proc hls4attn::describe_registers {core} {
    variable control
    variable control_range
    variable registers
    foreach map [ipx::get_memory_maps -quiet -of_objects $core] {
        ipx::remove_memory_map [get_property NAME $map] $core
    }
    set map [ipx::add_memory_map $control $core]
    set_property slave_memory_map_ref $control [ipx::get_bus_interfaces $control -of_objects $core]
    set block [ipx::add_address_block Reg $map]
    set_property base_address 0 $block
    set_property range $control_range $block
    set_property width 32 $block
    set_property usage register $block
    foreach item $registers {
        lassign $item name offset access fields
        set register [ipx::add_register $name $block]
        set_property description $name $register
        set_property address_offset $offset $register
        set_property size 32 $register
        set_property access $access $register
        foreach item $fields {
            lassign $item field bit width field_access
            set object [ipx::add_field $field $register]
            set_property description $field $object
            set_property bit_offset $bit $object
            set_property bit_width $width $object
            set_property access $field_access $object
        }
    }
}
