# SPDX-License-Identifier: Apache-2.0
# Packages the Verilog of the shell as an IP with its registers, which the handoff then lists for the host.

proc hls4attn::stage_shell {} {
    variable part
    variable ip_name
    variable ip_folder
    variable rtl
    variable scratch
    foreach path $rtl {
        need_file $path "it is written before any tool runs"
    }
    file delete -force $ip_folder $scratch
    # A project on disk: the packager does not support one in memory.
    create_project -force package $scratch -part $part
    add_files -norecurse $rtl
    set_property top $ip_name [current_fileset]
    update_compile_order -fileset sources_1
    file mkdir $ip_folder
    ipx::package_project -root_dir [file normalize $ip_folder] -vendor hls4attn -library hls -taxonomy /UserIP \
        -import_files -force
    set core [ipx::current_core]
    describe_core $core
    check_interfaces $core
    describe_registers $core
    ipx::create_xgui_files $core
    ipx::update_checksums $core
    ipx::check_integrity $core
    ipx::save_core $core
    close_project
    file delete -force $scratch
    need_file $ip_folder/component.xml "the packager did not write it"
}

proc hls4attn::describe_core {core} {
    variable ip_name
    variable ip_version
    set_property name $ip_name $core
    set_property version $ip_version $core
    set_property display_name $ip_name $core
    set_property description "AXI streams between the DMA and the kernels of hls4attn" $core
    set_property core_revision 1 $core
}

# The packager leaves an interface that it cannot map as loose ports, without an error.
proc hls4attn::check_interfaces {core} {
    variable interfaces
    foreach name $interfaces {
        if {![llength [ipx::get_bus_interfaces -quiet $name -of_objects $core]]} {
            error "the packager found no bus interface $name in the Verilog"
        }
    }
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
