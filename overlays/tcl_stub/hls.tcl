# SPDX-License-Identifier: Apache-2.0
# High-level synthesis: vivado_hls, vitis_hls and vitis-run know these commands alike.

namespace eval dry {
    variable hls
    array set hls {}
}

proc dry::need_hls {command args} {
    variable hls
    foreach name $args {
        if {![info exists hls($name)]} {
            problem "$command: no $name before it"
            return 0
        }
    }
    return 1
}

dry::command hls open_project {-reset} {} {
    array unset ::dry::hls
    set ::dry::hls(project) [lindex $words 0]
    if {[::dry::guard open_project $words]} {
        if {[dict exists $opt -reset]} {
            file delete -force [lindex $words 0]
        }
        file mkdir [lindex $words 0]
    }
    return ""
}

dry::command hls set_top {} {} {
    set ::dry::hls(top) [lindex $words 0]
    return ""
}

dry::command hls add_files {-tb -blackbox} {-cflags -csimflags} {
    if {![::dry::need_hls add_files project]} {
        return ""
    }
    foreach path [concat {*}$words] {
        if {![file exists $path]} {
            ::dry::problem "add_files: there is no file $path"
        } elseif {![dict exists $opt -tb]} {
            lappend ::dry::hls(files) $path
        }
    }
    if {[dict exists $opt -cflags]} {
        foreach flag [dict get $opt -cflags] {
            if {[regexp {^-I(.+)$} $flag -> folder] && ![file isdirectory $folder]} {
                ::dry::problem "add_files: -cflags has $flag, and there is no such folder"
            }
        }
    }
    return ""
}

# -flow_target is younger than the last vivado_hls.
dry::command hls open_solution {-reset} {-flow_target} {
    if {![::dry::need_hls open_solution project]} {
        return ""
    }
    if {[dict exists $opt -flow_target] && [dict get $::dry::setup release] < 2020.2} {
        ::dry::problem "open_solution: vivado_hls of 2020.1 has no option -flow_target"
    }
    set ::dry::hls(solution) $::dry::hls(project)/[lindex $words 0]
    file mkdir $::dry::hls(solution)
    return ""
}

dry::command hls set_part {} {-tool} {
    set ::dry::hls(part) [lindex $words 0]
    return ""
}

dry::command hls create_clock {} {-period -name} {
    if {![dict exists $opt -period]} {
        ::dry::problem "create_clock: no -period"
    }
    set ::dry::hls(clock) 1
    return ""
}

dry::commands_without_effect hls {
    set_clock_uncertainty {} {} close_solution {} {} close_project {} {}
}

# -enable_auto_rewind is younger than the last vivado_hls, which refuses what it does not know.
dry::command hls config_compile {-enable_auto_rewind -unsafe_math_optimizations} {-name_max_length -pipeline_loops} {
    if {[dict exists $opt -enable_auto_rewind] && [dict get $::dry::setup release] < 2020.2} {
        error "config_compile: vivado_hls of 2020.1 has no option -enable_auto_rewind"
    }
    return ""
}

foreach {dry_config dry_options} {
    config_rtl {-reset -reset_level -reset_async -module_prefix -prefix -auto_prefix}
    config_interface {-clock_enable -m_axi_addr64 -default_slave_interface}
    config_schedule {-effort -relax_ii_for_timing -enable_dsp_full_reg}
    config_dataflow {-default_channel -fifo_depth -start_fifo_depth -strict_mode}
    config_array_partition {-maximum_size -throughput_driven -complete_threshold}
    config_export {-format -vendor -library -version -ipname -display_name -description -output -rtl}
} {
    dry::command hls $dry_config {} $dry_options {return ""}
}

dry::command hls csynth_design {} {} {
    if {![::dry::need_hls csynth_design project solution files top part clock]} {
        return ""
    }
    set top $::dry::hls(top)
    set found 0
    foreach path $::dry::hls(files) {
        set stream [open $path]
        incr found [regexp "\\m$top\\s*\\(" [read $stream]]
        close $stream
    }
    if {!$found} {
        ::dry::problem "csynth_design: no file defines the top function $top"
    }
    foreach name [list csynth.xml ${top}_csynth.xml csynth.rpt ${top}_csynth.rpt] {
        ::dry::touch $::dry::hls(solution)/syn/report/$name
    }
    set ::dry::hls(synthesised) 1
    return ""
}

dry::command hls csim_design {-O -clean -setup} {-ldflags -argv} {return ""}

dry::command hls export_design {} \
        {-format -rtl -vendor -library -version -ipname -display_name -description -output -flow} {
    if {![::dry::need_hls export_design synthesised]} {
        return ""
    }
    set parts {}
    foreach {name default} [list -vendor xilinx.com -library hls -ipname $::dry::hls(top) -version 1.0] {
        lappend parts [expr {[dict exists $opt $name] ? [dict get $opt $name] : $default}]
    }
    # a kernel without control registers
    set interfaces [dict create ap_clk {protocol clock} ap_rst_n {protocol reset} \
        in_r {protocol axis mode slave bits 32} out_r {protocol axis mode master bits 32}]
    set folder $::dry::hls(solution)/impl/ip
    ::dry::write_component $folder/component.xml [join $parts :] $interfaces {}
    ::dry::touch $::dry::hls(solution)/impl/export.zip
    if {[dict exists $opt -output] && [::dry::guard export_design [list [dict get $opt -output]]]} {
        ::dry::touch [dict get $opt -output]
    }
    return ""
}
