# SPDX-License-Identifier: Apache-2.0
# Projects and files of Vivado.

namespace eval dry {
    variable state
    array set state {}
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
    if {[dict get $setup release] < 2020.2} {
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
