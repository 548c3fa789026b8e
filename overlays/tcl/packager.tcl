# SPDX-License-Identifier: Apache-2.0
# What packaging an IP of Verilog is made of, for the shell and for kernels that are Verilog.

# Package files in a project of their own, which stays open until `finish_core`.
proc hls4attn::package_verilog {files} {
    variable part
    variable ip_name
    variable ip_folder
    variable scratch
    foreach path $files {
        need_file $path "it is written before any tool runs"
    }
    file delete -force $ip_folder $scratch
    # A project on disk: the packager does not support one in memory.
    create_project -force package $scratch -part $part
    add_files -norecurse $files
    set_property top $ip_name [current_fileset]
    update_compile_order -fileset sources_1
    file mkdir $ip_folder
    ipx::package_project -root_dir [file normalize $ip_folder] -vendor hls4attn -library hls -taxonomy /UserIP \
        -import_files -force
    set core [ipx::current_core]
    describe_core $core
    check_interfaces $core
    return $core
}

proc hls4attn::finish_core {core} {
    variable ip_folder
    variable scratch
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
    variable ip_title
    variable ip_version
    set_property name $ip_name $core
    set_property version $ip_version $core
    set_property display_name $ip_name $core
    set_property description $ip_title $core
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
