# SPDX-License-Identifier: Apache-2.0
# What all stages share.  Every script sets the variables of the namespace `hls4attn` first, then reads on here.
# Runs unchanged in Vivado 2020.1 to 2025.x.

# IPs and commands used here exist since 2020.1; a newer Vivado than those that were looked at only gets a warning.
proc hls4attn::need_version {} {
    set text [version -short]
    if {![regexp {^v?(\d{4})\.(\d+)} $text -> year minor]} {
        error "cannot read the version of Vivado. Received: '$text'"
    }
    if {$year < 2020} {
        error "Vivado 2020.1 or newer is needed. Received: $text. Put a newer one first on PATH"
    }
    if {$year > 2025} {
        puts "WARNING: Vivado $text is newer than 2025.x, the last that this script was written for"
    }
}

# Parallel jobs of a run.  From the environment, so that the text of a script, and with it what is built already, does
# not depend on the machine.
proc hls4attn::jobs {} {
    set jobs 2
    if {[info exists ::env(HLS4ATTN_JOBS)]} {
        set jobs $::env(HLS4ATTN_JOBS)
    }
    if {![string is integer -strict $jobs] || $jobs < 1} {
        error "HLS4ATTN_JOBS must be a number of parallel jobs from 1. Received: '$jobs'"
    }
    return $jobs
}

proc hls4attn::need_file {path why} {
    if {![file exists $path]} {
        error "$path is missing: $why"
    }
}

# The only file that one of the patterns finds.
proc hls4attn::find_file {patterns why} {
    set found [glob -nocomplain {*}$patterns]
    if {[llength $found] != 1} {
        error "expected one file [join $patterns { or }], found [llength $found]: $why"
    }
    return [lindex $found 0]
}

# Open the project that the design stage left, whatever state a crash left it in.
proc hls4attn::open_built_project {} {
    variable project
    need_file $project "the design stage makes it; run that first"
    if {[llength [get_projects -quiet]]} {
        close_project
    }
    open_project $project
}

# Below .srcs up to Vivado 2020.1, below .gen since.
proc hls4attn::find_handoff {} {
    variable project
    variable design
    set patterns {}
    foreach kind {gen srcs} {
        lappend patterns [file rootname $project].$kind/sources_1/bd/$design/hw_handoff/$design.hwh
    }
    return [find_file $patterns "generate_target of the block design writes the handoff"]
}

# A run that failed leaves Vivado running, so only its status tells.
proc hls4attn::need_run {run step} {
    set object [get_runs $run]
    set status [get_property STATUS $object]
    set progress [get_property PROGRESS $object]
    if {$progress ne "100%" || ![string match "$step Complete*" $status]} {
        error "run $run ended with status '$status' at $progress; its log is [get_property DIRECTORY $object]/runme.log"
    }
}

proc hls4attn::start_run {run args} {
    launch_runs $run {*}$args -jobs [jobs]
    wait_on_run $run
}

# Do a stage; the exit code says whether it worked, in every mode of Vivado.
proc hls4attn::main {stage} {
    if {[catch {
        need_version
        stage_$stage
    } message]} {
        puts "ERROR: \[hls4attn $stage\] $message"
        exit 1
    }
    puts "INFO: \[hls4attn $stage\] complete"
    exit 0
}
