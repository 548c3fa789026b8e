# SPDX-License-Identifier: Apache-2.0
# The IP packager: interfaces come from the attributes in the Verilog, as Vivado infers them.

namespace eval dry {
    variable core [dict create]
}

# Names, modes and bits of the AXI interfaces of a module; of an aximm, whether it says that it is AXI4-Lite.
proc dry::verilog_interfaces {path top} {
    set stream [open $path]
    set text [read $stream]
    close $stream
    set found [dict create]
    if {![regexp "\\mmodule\\s+$top\\M" $text]} {
        return $found
    }
    set signal {X_INTERFACE_INFO\s*=\s*"xilinx\.com:(interface|signal):(\w+):1\.0 (\w+) (\w+)"\s*\*\)\s*(?:\(\*[^*]*\*\)\s*)?}
    append signal {(input|output)\s+(?:wire\s+|reg\s+)?(?:\[(\d+):0\])?}
    foreach {- - protocol name logical direction left} [regexp -all -inline $signal $text] {
        if {$logical in {TVALID AWVALID}} {
            dict set found $name mode [expr {$direction eq "input" ? "slave" : "master"}]
        }
        if {$logical eq "TDATA"} {
            dict set found $name bits [expr {$left eq "" ? 1 : $left + 1}]
        }
        dict set found $name protocol $protocol
    }
    set parameter {X_INTERFACE_PARAMETER\s*=\s*"XIL_INTERFACENAME (\w+), PROTOCOL AXI4LITE[,"]}
    foreach {- name} [regexp -all -inline $parameter $text] {
        dict set found $name lite 1
    }
    return $found
}

dry::command vivado ipx::package_project {-import_files -force} \
        {-root_dir -vendor -library -taxonomy -set_current -module} {
    if {![info exists state(project)]} {
        ::dry::problem "ipx::package_project: no project is open"
        return ""
    }
    set root [dict get $opt -root_dir]
    if {![::dry::guard ipx::package_project [list $root]]} {
        return ""
    }
    set top ""
    if {[info exists ::dry::properties(fileset,sources_1,top)]} {
        set top $::dry::properties(fileset,sources_1,top)
    }
    set interfaces [dict create]
    foreach path [lsearch -all -inline -regexp $state(files) {\.s?v$}] {
        set interfaces [dict merge $interfaces [::dry::verilog_interfaces $path $top]]
    }
    if {![dict size $interfaces]} {
        ::dry::problem "ipx::package_project: no module '$top' with interfaces in [join $state(files) {, }]"
    }
    set ::dry::core [dict create root $root interfaces $interfaces blocks {}]
    foreach {property value} [list vendor [dict get $opt -vendor] library [dict get $opt -library] name $top version 1.0] {
        set ::dry::properties(core,ipx:core,$property) $value
    }
    # the packager's own map of registers, which has none
    dict for {name interface} $interfaces {
        if {[dict get $interface protocol] eq "aximm"} {
            dict set ::dry::core blocks $name/reg0 {}
        }
    }
    return [::dry::object core ipx:core]
}

dry::command vivado ipx::current_core {} {} {return [::dry::object core ipx:core]}

dry::command vivado ipx::get_bus_interfaces {} {-of_objects} {
    set name [lindex $words 0]
    if {![dict exists $::dry::core interfaces $name]} {
        if {![dict exists $opt -quiet]} {
            ::dry::problem "ipx::get_bus_interfaces: the module has no interface $name"
        }
        return ""
    }
    return [::dry::object bus ipx:bus:$name]
}

# Both groups hold all sources, and what is data by its ending, with paths below the IP's folder.
dry::command vivado ipx::get_file_groups {} {-of_objects} {
    set name [lindex $words 0]
    if {$name ni {xilinx_anylanguagesynthesis xilinx_anylanguagebehavioralsimulation}} {
        if {![dict exists $opt -quiet]} {
            ::dry::problem "ipx::get_file_groups: the IP has no $name"
        }
        return ""
    }
    return [::dry::object group ipx:group:$name]
}

dry::command vivado ipx::get_files {} {-of_objects} {
    set found {}
    foreach path [lsearch -all -inline -regexp $state(files) {\.(s?v|mem|dat)$}] {
        lappend found [::dry::object packaged src/[file tail $path]]
    }
    return $found
}

dry::command vivado ipx::get_memory_maps {} {-of_objects} {
    set found {}
    foreach path [dict keys [dict get $::dry::core blocks]] {
        lappend found [::dry::object map ipx:map:[lindex [split $path /] 0]]
    }
    return [lsort -unique $found]
}

dry::command vivado ipx::remove_memory_map {} {} {
    set name [lindex $words 0]
    dict for {path block} [dict get $::dry::core blocks] {
        if {[string match $name/* $path]} {
            dict unset ::dry::core blocks $path
        }
    }
    return ""
}

dry::command vivado ipx::add_memory_map {} {} {return [::dry::object map ipx:map:[lindex $words 0]]}

dry::command vivado ipx::add_address_block {} {} {
    lassign $words name map
    dict set ::dry::core blocks [lindex [split $map :] end]/$name {}
    return [::dry::object block ipx:block:[lindex [split $map :] end]/$name]
}

dry::command vivado ipx::add_register {} {} {
    lassign $words name block
    set path [string range $block [string length ipx:block:] end]
    if {$name in [dict get $::dry::core blocks $path]} {
        ::dry::problem "ipx::add_register: $name is added twice"
    }
    dict set ::dry::core blocks $path [concat [dict get $::dry::core blocks $path] [list $name]]
    return [::dry::object register ipx:register:$path:$name]
}

dry::command vivado ipx::add_field {} {} {
    lassign $words name register
    return [::dry::object field $register:$name]
}

dry::commands_without_effect vivado {ipx::create_xgui_files {} {} ipx::update_checksums {} {} ipx::check_integrity {} {}}

dry::command vivado ipx::save_core {} {} {
    set parts {}
    foreach property {vendor library name version} {
        lappend parts $::dry::properties(core,ipx:core,$property)
    }
    set blocks [dict keys [dict get $::dry::core blocks]]
    set referenced {}
    dict for {name interface} [dict get $::dry::core interfaces] {
        if {[dict get $interface protocol] eq "aximm"} {
            set own [lsearch -all -inline $blocks $name/*]
            if {[llength $own] != 1} {
                ::dry::problem "ipx::save_core: interface $name has [llength $own] address blocks; PYNQ needs exactly one"
            }
            if {![dict exists $interface lite]} {
                ::dry::problem "ipx::save_core: interface $name does not say PROTOCOL AXI4LITE"
            }
            if {![info exists ::dry::properties(bus,ipx:bus:$name,slave_memory_map_ref)]} {
                ::dry::problem "ipx::save_core: interface $name has no slave_memory_map_ref"
            }
        }
    }
    ::dry::write_component [dict get $::dry::core root]/component.xml [join $parts :] \
        [dict get $::dry::core interfaces] $blocks
    return ""
}

# Stands for what a packaged IP says of itself.
proc dry::write_component {path vlnv interfaces blocks} {
    file mkdir [file dirname $path]
    set stream [open $path w]
    puts $stream [list dryrun $vlnv $interfaces $blocks]
    close $stream
}

proc dry::read_component {path} {
    variable ips
    set stream [open $path]
    lassign [read $stream] - vlnv interfaces blocks
    close $stream
    ip $vlnv 0 9999 {}
    variable entry $ips($vlnv)
    dict for {name interface} $interfaces {
        set protocol [dict get $interface protocol]
        switch -- $protocol {
            clock {in $name clk 1}
            reset {in $name rst 1}
            default {
                set bits [expr {[dict exists $interface bits] ? [dict get $interface bits] : 0}]
                set segments [lsearch -inline $blocks $name/*]
                set mode [dict get $interface mode]
                if {$mode eq "slave"} {
                    slave $name $protocol 1 1 [split $segments /] $bits
                } else {
                    master $name $protocol 1 1 {} $bits
                }
            }
        }
    }
    set ips($vlnv) $entry
}
