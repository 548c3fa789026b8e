# SPDX-License-Identifier: Apache-2.0
# Packages a kernel that is Verilog as an IP, with the tables that it reads.

proc hls4attn::stage_kernel {} {
    variable rtl
    variable tables
    puts "INFO: hls4attn: packaging [llength $rtl] sources and [llength $tables] tables"
    set core [package_verilog [concat $rtl $tables]]
    check_tables $core
    finish_core $core
}

# $readmemh names a table without a path.  Synthesis looks for it among the IP's files, and takes zeros with no more
# than a warning if it is not one of them.
proc hls4attn::check_tables {core} {
    variable tables
    foreach name {xilinx_anylanguagesynthesis xilinx_anylanguagebehavioralsimulation} {
        set group [ipx::get_file_groups -quiet $name -of_objects $core]
        if {![llength $group]} {
            error "the packager made no group of files $name"
        }
        set packaged {}
        foreach item [ipx::get_files -quiet -of_objects $group] {
            lappend packaged [file tail [get_property NAME $item]]
        }
        foreach path $tables {
            if {[file tail $path] ni $packaged} {
                error "the packager left the table [file tail $path] out of $name"
            }
        }
    }
}
