# SPDX-License-Identifier: Apache-2.0
# Projects, files, runs and reports of Vivado.

namespace eval dry {
    variable state
    array set state {}
    variable run_steps
    array set run_steps {synth_1 synth_design impl_1 {init_design opt_design place_design route_design write_bitstream}}
}

dry::command vivado version {-short} {} {return [dict get $::dry::setup version]}
dry::command vivado get_param {} {} {return ""}
dry::command vivado set_param {} {} {
    if {[lindex $words 0] ni {board.repoPaths general.maxThreads tcl.collectionResultDisplayLimit}} {
        ::dry::problem "set_param: no parameter [lindex $words 0] among those that overlays use"
    }
    return ""
}

dry::command vivado get_board_parts {} {} {
    set boards [dict get $::dry::setup boards]
    set found {}
    foreach pattern $words {
        # without a list, every board that is named is installed
        foreach board [expr {$boards eq "*" ? $pattern : $boards}] {
            if {[string match $pattern $board]} {
                lappend found [::dry::object board_part $board]
            }
        }
    }
    return $found
}

# --- projects -------------------------------------------------------------------------------------------

dry::command vivado create_project {-force -in_memory} {-part} {
    lassign $words name folder
    if {[info exists state(project)]} {
        ::dry::problem "create_project $name: project $state(project) is still open"
    }
    if {![dict exists $opt -part]} {
        ::dry::problem "create_project $name: no -part"
    }
    if {![::dry::guard create_project [list $folder]]} {
        return ""
    }
    if {[file exists $folder/$name.xpr] && ![dict exists $opt -force]} {
        ::dry::problem "create_project $name: it exists already, and there is no -force"
    }
    ::dry::clear_project
    set state(project) $name
    set state(path) $folder/$name
    set state(saved) [file normalize $folder/$name.xpr]
    ::dry::touch $folder/$name.xpr
    foreach {kind object} [list project $name fileset sources_1 run synth_1 run impl_1] {
        ::dry::object $kind $object
    }
    ::dry::set_run synth_1 "Not started" 0%
    ::dry::set_run impl_1 "Not started" 0%
    return $name
}

proc dry::clear_project {} {
    variable state
    variable properties
    array unset state
    array unset properties project,*
    array unset properties run,*
    array unset properties fileset,*
    set state(files) {}
    clear_diagram
}

proc dry::touch {path} {
    file mkdir [file dirname $path]
    close [open $path w]
}

dry::command vivado open_project {} {} {
    set path [lindex $words 0]
    if {![info exists state(saved)] || [file normalize $path] ne $state(saved)} {
        ::dry::problem "open_project: no script made $path"
        return ""
    }
    if {[info exists state(project)]} {
        ::dry::problem "open_project $path: project $state(project) is still open"
    }
    set state(project) [file rootname [file tail $path]]
    return $state(project)
}

dry::command vivado close_project {-delete} {} {
    if {![info exists state(project)]} {
        ::dry::problem "close_project: no project is open"
    }
    unset -nocomplain state(project) state(opened)
    return ""
}

dry::command vivado get_projects {} {} {return [expr {[info exists state(project)] ? $state(project) : ""}]}

dry::command vivado current_project {} {} {
    if {![info exists state(project)]} {
        ::dry::problem "current_project: no project is open"
        return ""
    }
    return $state(project)
}

dry::command vivado current_fileset {} {} {return sources_1}

# --- files ----------------------------------------------------------------------------------------------

dry::command vivado add_files {-norecurse -force} {-fileset} {
    foreach path [concat {*}$words] {
        if {[file isfile $path]} {
            lappend state(files) $path
        } else {
            ::dry::problem "add_files: there is no file $path"
        }
    }
    return $words
}

dry::command vivado update_compile_order {} {-fileset} {return ""}

dry::command vivado get_files {} {} {
    set name [lindex $words 0]
    if {![info exists state(bd)] || $name ne "$state(bd).bd"} {
        ::dry::problem "get_files: the project has no $name"
        return ""
    }
    return [::dry::object file [::dry::bd_folder srcs]/$name]
}

# Vivado 2020.2 was the first to put generated files below .gen
proc dry::bd_folder {kind} {
    variable state
    variable setup
    if {[dict get $setup version] < 2020.2} {
        set kind srcs
    }
    return $state(path).$kind/sources_1/bd/$state(bd)
}

dry::command vivado generate_target {-force} {} {
    if {!$state(valid)} {
        ::dry::problem "generate_target: the block design was changed after validate_bd_design"
    }
    ::dry::touch [::dry::bd_folder srcs]/$state(bd).bd
    ::dry::touch [::dry::bd_folder gen]/hw_handoff/$state(bd).hwh
    return ""
}

dry::command vivado make_wrapper {-top -import -force} {-files -fileset} {
    if {![dict exists $opt -files] || [dict get $opt -files] eq ""} {
        ::dry::problem "make_wrapper: no -files"
        return ""
    }
    set path [::dry::bd_folder gen]/hdl/$state(bd)_wrapper.v
    ::dry::touch $path
    return $path
}

dry::command vivado update_ip_catalog {-rebuild} {} {
    set folders {}
    if {[info exists ::dry::properties(project,$state(project),ip_repo_paths)]} {
        set folders $::dry::properties(project,$state(project),ip_repo_paths)
    }
    foreach folder $folders {
        foreach path [glob -nocomplain -directory $folder component.xml */component.xml] {
            ::dry::read_component $path
        }
    }
    return ""
}

# --- runs -----------------------------------------------------------------------------------------------

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
