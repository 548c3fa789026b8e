# SPDX-License-Identifier: Apache-2.0
# Runs build scripts against a model of the tools:  tclsh main.tcl MANIFEST   (in a scratch copy of the build folder)
#
# A script runs in a safe interpreter that knows plain Tcl, the files below the working folder, and the commands of its
# tool.  The manifest is a Tcl dictionary, see `overlays/dryrun.py`; results are lines of fields separated by tabs.

namespace eval dry {
    variable problems 0
    variable used 0
    variable script ""
    variable here [file normalize [pwd]]
    variable commands  ;# (tool,name) -> flags, options with a value, procedure
    array set commands {}
}

proc dry::emit {kind args} {
    set fields {}
    foreach item $args {
        lappend fields [string map [list \\ \\\\ \t \\t \n \\n \r \\r] $item]
    }
    puts [join [list $kind {*}$fields] \t]
}

proc dry::problem {text} {
    variable problems
    variable script
    incr problems
    emit problem $script $text
}

# Define a command of a tool.  In `body`, `opt` is a dictionary of the options that were given, `words` the other words.
proc dry::command {tool name flags valued body} {
    variable commands
    set procedure ::dry::run::${tool}::[string map {:: .} $name]
    namespace eval ::dry::run::$tool {}
    proc $procedure {opt words} "namespace upvar ::dry state state\n$body"
    set commands($tool,$name) [list [concat $flags {-quiet -verbose}] $valued $procedure]
}

# Commands whose effect matters to nothing here.
proc dry::commands_without_effect {tool table} {
    foreach {name flags valued} $table {
        command $tool $name $flags $valued {return ""}
    }
}

proc dry::invoke {tool name args} {
    variable commands
    variable used
    incr used
    lassign $commands($tool,$name) flags valued procedure
    set opt [dict create]
    set words {}
    for {set i 0} {$i < [llength $args]} {incr i} {
        set item [lindex $args $i]
        if {[regexp {^(-[A-Za-z_]+)=(.*)$} $item -> flag value]} {
            if {$flag ni $flags} {
                problem "$name: no such option: $flag"
            }
            dict set opt $flag $value
        } elseif {![regexp {^-[A-Za-z_]+$} $item]} {
            lappend words $item
        } elseif {$item in $valued} {
            if {[incr i] >= [llength $args]} {
                problem "$name: option $item has no value"
            }
            dict set opt $item [lindex $args $i]
        } elseif {$item in $flags} {
            dict set opt $item 1
        } else {
            problem "$name: no such option: $item"
        }
    }
    return [$procedure $opt $words]
}

proc dry::unknown {name args} {
    problem "unknown command: $name"
    return ""
}

# --- files: only below the working folder ---------------------------------------------------------------

proc dry::below {path} {
    variable here
    set full [file normalize $path]
    return [expr {$full eq $here || [string match "$here/*" $full]}]
}

proc dry::guard {command paths} {
    foreach path $paths {
        if {![below $path]} {
            problem "$command reaches outside the build folder: $path"
            return 0
        }
    }
    return 1
}

proc dry::files {subcommand args} {
    if {$subcommand in {copy delete mkdir rename}} {
        set paths [lsearch -all -inline -not -glob $args -*]
        if {![guard "file $subcommand" $paths]} {
            return ""
        }
    }
    return [uplevel #0 [list file $subcommand {*}$args]]
}

proc dry::change_folder {path} {
    if {[guard cd [list $path]]} {
        cd $path
    }
}

proc dry::open_file {child path args} {
    if {[regexp {[wa+]} [lindex $args 0]] && ![guard "open" [list $path]]} {
        error "open: $path refused"
    }
    return [interp invokehidden $child open $path {*}$args]
}

proc dry::say {child args} {
    if {[llength $args] >= 2 && [lindex $args 0] ni {-nonewline stdout stderr}} {
        return [interp invokehidden $child puts {*}$args]
    }
    set text [lindex $args end]
    if {[string match "ERROR:*" $text]} {
        problem "the script reports: $text"
    } elseif {[string match "WARNING:*" $text]} {
        variable script
        emit warning $script $text
    }
}

# --- one script -----------------------------------------------------------------------------------------

proc dry::interpreter {tool} {
    variable commands
    set child [interp create -safe]
    interp alias $child file {} dry::files
    interp alias $child glob {} glob
    interp alias $child pwd {} pwd
    interp alias $child cd {} dry::change_folder
    interp alias $child open {} dry::open_file $child
    interp alias $child puts {} dry::say $child
    interp alias $child source {} interp invokehidden $child source
    interp alias $child exit {} dry::leave
    interp alias $child unknown {} dry::unknown
    interp eval $child [list array set env [array get ::env HLS4ATTN_*]]
    foreach key [array names commands $tool,*] {
        set name [string range $key [string length $tool,] end]
        if {[string match *::* $name]} {
            interp eval $child [list namespace eval [namespace qualifiers $name] {}]
        }
        interp alias $child $name {} dry::invoke $tool $name
    }
    return $child
}

proc dry::leave {{code 0}} {
    return -code error -errorcode [list DRY EXIT $code] "exit $code"
}

# Returns whether the script came to its end and left what it should.
proc dry::run_script {item} {
    variable script
    set script [dict get $item name]
    foreach path [dict get $item reads] {
        if {![file exists $path]} {
            problem "reads $path, which nothing made"
        }
    }
    set child [interpreter [dict get $item tool]]
    set code {}
    set failed [catch {interp invokehidden $child source [dict get $item path]} message options]
    if {$failed} {
        set code [dict get $options -errorcode]
        if {[lrange $code 0 1] ne {DRY EXIT}} {
            problem "Tcl error: $message (line [dict get $options -errorline])"
        } elseif {[lindex $code 2] != 0} {
            problem "the script ends with exit code [lindex $code 2]"
        }
    }
    interp delete $child
    variable here
    cd $here
    set ended [expr {!$failed || $code eq {DRY EXIT 0}}]
    foreach path [dict get $item writes] {
        if {$ended && ![file exists $path]} {
            problem "leaves no $path"
            set ended 0
        }
    }
    return $ended
}

proc dry::main {manifest} {
    variable setup
    variable used
    set stream [open $manifest]
    fconfigure $stream -encoding utf-8
    set setup [read $stream]
    close $stream
    foreach item [dict get $setup scripts] {
        # a build stops where a stage fails, too
        if {![run_script $item]} {
            break
        }
    }
    report_diagram
    emit commands $used
}

set dry_here [file dirname [file normalize [info script]]]
foreach dry_part {objects catalog diagram connections check addresses project runs packager hls} {
    source $dry_here/$dry_part.tcl
}
fconfigure stdout -encoding utf-8
dry::main [lindex $argv 0]
