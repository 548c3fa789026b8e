# SPDX-License-Identifier: Apache-2.0
# Nets between pins and links between interfaces of a block design.

# Whether `path` is a pin or interface (`table`) of a cell, and not switched off; says why not.
proc dry::find_port {path table} {
    variable cells
    set parts [split [string trimleft $path /] /]
    lassign $parts instance name
    set what [expr {$table eq "pins" ? "pin" : "interface"}]
    if {[llength $parts] != 2 || ![dict exists $cells $instance]} {
        problem "$what $path: there is no cell $instance"
        return ""
    }
    set known [dict get [entry_of $instance] $table]
    set active {}
    dict for {each port} $known {
        if {[over $instance [dict get $port when]]} {
            lappend active $each
        }
    }
    if {$name in $active} {
        return [dict get $known $name]
    }
    if {[dict exists $known $name]} {
        problem "$what $path is switched off by the parameters of $instance"
    } else {
        problem "$what $path: a [dict get $cells $instance vlnv] has no $what $name; it has: $active"
    }
    return ""
}

proc dry::get_ports {table kind words} {
    set found {}
    foreach path $words {
        if {[find_port $path $table] ne ""} {
            lappend found [object $kind /[string trimleft $path /]]
        }
    }
    return $found
}

dry::command vivado get_bd_pins {} {} {return [::dry::get_ports pins pin $words]}
dry::command vivado get_bd_intf_pins {} {} {return [::dry::get_ports interfaces interface $words]}

dry::command vivado connect_bd_net {} {-net} {
    set paths [concat {*}$words]
    if {[llength $paths] < 2} {
        ::dry::problem "connect_bd_net: needs two pins. Received: '$paths'"
        return ""
    }
    ::dry::join_pins $paths
    set state(valid) 0
    return ""
}

proc dry::join_pins {paths} {
    variable net_of
    variable nets
    set all $paths
    foreach path $paths {
        if {[info exists net_of($path)]} {
            lappend all {*}[dict get $nets $net_of($path)]
            dict unset nets $net_of($path)
        }
    }
    set all [lsort -unique $all]
    set number [lindex $all 0]
    dict set nets $number $all
    foreach path $all {
        set net_of($path) $number
    }
    set drivers [drivers_of $all]
    if {[llength $drivers] > 1} {
        problem "two drivers on one net: [join $drivers { and }]"
    }
}

proc dry::drivers_of {paths} {
    set found {}
    foreach path $paths {
        lassign [split $path /] - instance name
        if {[dict get [entry_of $instance] pins $name dir] eq "out"} {
            lappend found $path
        }
    }
    return $found
}

dry::command vivado connect_bd_intf_net {} {-intf_net -boundary_type} {
    set paths [concat {*}$words]
    if {[llength $paths] != 2} {
        ::dry::problem "connect_bd_intf_net: needs two interfaces. Received: '$paths'"
        return ""
    }
    foreach path $paths {
        if {[dict exists $::dry::links $path]} {
            ::dry::problem "interface $path is connected twice, to [dict get $::dry::links $path] and in $paths"
            return ""
        }
        lassign [split $path /] - instance name
        lappend ends [dict get [::dry::entry_of $instance] interfaces $name]
    }
    lassign $ends first second
    if {[lsort [list [dict get $first mode] [dict get $second mode]]] ne {master slave}} {
        ::dry::problem "interfaces $paths are both a [dict get $first mode]"
    }
    if {[dict get $first protocol] ne [dict get $second protocol]} {
        ::dry::problem "interfaces $paths are of different kinds: [dict get $first protocol], [dict get $second protocol]"
    }
    lassign $paths one other
    dict set ::dry::links $one $other
    dict set ::dry::links $other $one
    set state(valid) 0
    return ""
}
