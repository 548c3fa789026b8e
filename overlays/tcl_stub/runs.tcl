# SPDX-License-Identifier: Apache-2.0
# Runs of Vivado: their steps, their status, what they leave, and reports.

namespace eval dry {
    variable run_steps
    array set run_steps {synth_1 synth_design impl_1 {init_design opt_design place_design route_design write_bitstream}}
}

proc dry::set_run {run status progress} {
    variable properties
    variable state
    set properties(run,$run,status) $status
    set properties(run,$run,progress) $progress
    set properties(run,$run,is_synthesis) [string match synth* $run]
    set properties(run,$run,directory) $state(path).runs/$run
}

dry::command vivado get_runs {} {-filter} {
    variable ::dry::run_steps
    if {[dict exists $opt -filter]} {
        if {![regexp {^\s*IS_SYNTHESIS\s*(==\s*1)?\s*$} [dict get $opt -filter]]} {
            ::dry::problem "get_runs: filter '[dict get $opt -filter]' is none of those that overlays use"
        }
        return synth_1
    }
    set found {}
    foreach run $words {
        if {[info exists run_steps($run)]} {
            lappend found $run
        } else {
            ::dry::problem "get_runs: the project has no run $run"
        }
    }
    return $found
}

dry::command vivado reset_run {-prev_step -noclean_dir} {-from_step} {
    variable ::dry::run_steps
    set run [lindex $words 0]
    if {![info exists run_steps($run)]} {
        ::dry::problem "reset_run: the project has no run $run"
        return ""
    }
    if {[dict exists $opt -from_step]} {
        set place [lsearch -exact $run_steps($run) [dict get $opt -from_step]]
        if {$place < 1} {
            ::dry::problem "reset_run $run: no step [dict get $opt -from_step]"
            return ""
        }
        ::dry::set_run $run "[lindex $run_steps($run) $place-1] Complete!" 100%
        return ""
    }
    file delete -force $state(path).runs/$run
    ::dry::set_run $run "Not started" 0%
    return ""
}

dry::command vivado launch_runs {} {-jobs -to_step} {
    variable ::dry::run_steps
    set run [lindex $words 0]
    if {![info exists run_steps($run)]} {
        ::dry::problem "launch_runs: the project has no run $run"
        return ""
    }
    set last [expr {$run eq "synth_1" ? "synth_design" : "route_design"}]
    if {[dict exists $opt -to_step]} {
        set last [dict get $opt -to_step]
        if {$last ni $run_steps($run)} {
            ::dry::problem "launch_runs $run: no step $last"
            return ""
        }
    }
    set done [lindex $::dry::properties(run,$run,status) 0]
    if {$done eq $last || [string match "*ERROR*" $::dry::properties(run,$run,status)]} {
        ::dry::problem "launch_runs $run: its status is '$::dry::properties(run,$run,status)'; it must be reset first"
    }
    set state(launched) [list $run $last]
    return ""
}

dry::command vivado wait_on_run {} {-timeout} {
    set run [lindex $words 0]
    if {![info exists state(launched)] || [lindex $state(launched) 0] ne $run} {
        ::dry::problem "wait_on_run $run: it was not launched"
        return ""
    }
    ::dry::finish_run {*}$state(launched)
    unset state(launched)
    return ""
}

# What a run leaves, as far as scripts look at it.
proc dry::finish_run {run last} {
    variable state
    variable setup
    variable properties
    set folder $state(path).runs/$run
    if {$last in [dict get $setup failing]} {
        set_run $run "$last ERROR" 50%
        return
    }
    set top [expr {[info exists properties(fileset,sources_1,top)] ? $properties(fileset,sources_1,top) : ""}]
    if {$top eq "" || ![llength [lsearch -all $state(files) */$top.v]]} {
        problem "run $run: no file of the project holds its top '$top'"
    }
    if {$run eq "impl_1" && ![string match "synth_design Complete*" $properties(run,synth_1,status)]} {
        problem "run impl_1 is launched before synth_1 is complete"
    }
    set_run $run "$last Complete!" 100%
    if {$run eq "synth_1"} {
        touch $folder/$top.dcp
        return
    }
    touch $folder/${top}_routed.dcp
    if {$last eq "write_bitstream"} {
        touch $folder/$top.bit
    }
}

dry::command vivado open_run {} {-name} {
    set run [lindex $words 0]
    if {![regexp {(route_design|write_bitstream) Complete} $::dry::properties(run,$run,status)]} {
        ::dry::problem "open_run $run: its status is '$::dry::properties(run,$run,status)'"
    }
    set state(opened) $run
    return $run
}

foreach {dry_report dry_flags dry_valued} {
    report_utilization {-hierarchical -append} {-file -hierarchical_depth -format}
    report_timing_summary {-append -no_header -report_unconstrained} {-file -max_paths -delay_type}
    report_power {-append} {-file -format}
} {
    dry::command vivado $dry_report $dry_flags $dry_valued [string map [list NAME $dry_report] {
        if {![info exists state(opened)]} {
            ::dry::problem "NAME: no design is open"
        }
        if {![dict exists $opt -file]} {
            ::dry::problem "NAME: no -file"
            return ""
        }
        set path [dict get $opt -file]
        if {![file isdirectory [file dirname $path]]} {
            ::dry::problem "NAME: there is no folder [file dirname $path]"
            return ""
        }
        if {[::dry::guard NAME [list $path]]} {
            ::dry::touch $path
        }
        return ""
    }]
}

dry::command vivado write_hw_platform {-fixed -include_bit -force} {-file} {
    set path [expr {[dict exists $opt -file] ? [dict get $opt -file] : [lindex $words 0]}]
    if {![string match "write_bitstream Complete*" $::dry::properties(run,impl_1,status)]} {
        ::dry::problem "write_hw_platform: there is no bitstream to include"
    }
    if {[::dry::guard write_hw_platform [list $path]]} {
        ::dry::touch $path
    }
    return ""
}
