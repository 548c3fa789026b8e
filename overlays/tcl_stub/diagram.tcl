# SPDX-License-Identifier: Apache-2.0
# A block design: cells with parameters, nets between pins, links between interfaces, and the check of the whole.

namespace eval dry {
    variable cells [dict create]   ;# instance -> vlnv, values, chosen (parameters that the script set)
    variable net_of                ;# pin path -> number of its net
    variable nets [dict create]    ;# number -> pin paths
    variable links [dict create]   ;# interface path -> path at the other end, or "external"
    array set net_of {}
}

proc dry::clear_diagram {} {
    variable cells [dict create]
    variable nets [dict create]
    variable links [dict create]
    variable net_of
    array unset net_of
    clear_addresses
}

proc dry::need_design {command} {
    variable state
    if {![info exists state(bd)]} {
        problem "$command: no block design is open"
        return 0
    }
    return 1
}

# --- cells ----------------------------------------------------------------------------------------------

dry::command vivado create_bd_design {} {-dir} {
    set name [lindex $words 0]
    if {![info exists state(project)]} {
        ::dry::problem "create_bd_design: no project is open"
    }
    ::dry::clear_diagram
    set state(bd) $name
    set state(valid) 0
    return [::dry::object bd $name]
}

dry::command vivado create_bd_cell {} {-type -vlnv -reference} {
    if {![::dry::need_design create_bd_cell]} {
        return ""
    }
    set instance [string trimleft [lindex $words 0] /]
    set vlnv [expr {[dict exists $opt -vlnv] ? [dict get $opt -vlnv] : ""}]
    set type [expr {[dict exists $opt -type] ? [dict get $opt -type] : ""}]
    set wanted [expr {[lindex [split $vlnv :] 1] eq "inline_hdl" ? "inline_hdl" : "ip"}]
    if {$type ne $wanted} {
        ::dry::problem "create_bd_cell $instance: -type is '$type', a $vlnv needs '$wanted'"
    }
    if {![::dry::has_ip $vlnv]} {
        ::dry::problem "create_bd_cell $instance: the catalogue of Vivado [dict get $::dry::setup version] has no '$vlnv'"
        return ""
    }
    if {[dict exists $::dry::cells $instance]} {
        ::dry::problem "cell $instance is created twice"
    }
    dict set ::dry::cells $instance \
        [dict create vlnv $vlnv values [dict get $::dry::ips($vlnv) parameters] chosen {}]
    set ::dry::properties(cell,/$instance,vlnv) $vlnv
    set state(valid) 0
    return [::dry::object cell /$instance]
}

dry::command vivado get_bd_cells {} {} {
    set found {}
    foreach name $words {
        set instance [string trimleft $name /]
        if {[dict exists $::dry::cells $instance]} {
            lappend found /$instance
        } elseif {![dict exists $opt -quiet]} {
            ::dry::problem "get_bd_cells: there is no cell $instance"
        }
    }
    return $found
}

proc dry::entry_of {instance} {
    variable cells
    variable ips
    return $ips([dict get $cells $instance vlnv])
}

proc dry::set_parameter {path name value} {
    variable cells
    variable state
    set instance [string trimleft $path /]
    if {![dict exists $cells $instance values $name]} {
        problem "CONFIG.$name is no parameter of $instance ([dict get $cells $instance vlnv])"
        return
    }
    dict set cells $instance values $name $value
    dict set cells $instance chosen $name $value
    set state(valid) 0
}

proc dry::get_parameter {path name} {
    variable cells
    set instance [string trimleft $path /]
    set values [dict get $cells $instance values]
    switch -- $name {
        PCW_ACT_FPGA0_PERIPHERAL_FREQMHZ {
            return [pl_clock [io_pll 1000.0] [dict get $values PCW_FPGA0_PERIPHERAL_FREQMHZ]]
        }
        PSU__CRL_APB__PL0_REF_CTRL__ACT_FREQMHZ {
            return [pl_clock [io_pll 1499.985] [dict get $values PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ]]
        }
    }
    if {![dict exists $values $name]} {
        problem "CONFIG.$name is no parameter of $instance ([dict get $cells $instance vlnv])"
        return ""
    }
    return [dict get $values $name]
}

# The board's own, if it is known; else that of most presets of the family.
proc dry::io_pll {usual} {
    variable setup
    set known [dict get $setup io_pll]
    return [expr {$known ? $known : $usual}]
}

# What two dividers of 1 to 63 make of the IO PLL, at or below the request.
proc dry::pl_clock {pll request} {
    set best 0
    for {set a 1} {$a < 64} {incr a} {
        for {set b 1} {$b <= $a} {incr b} {
            set made [expr {$pll / ($a * $b)}]
            if {$made <= $request * 1.000001 && $made > $best} {
                set best $made
            }
        }
    }
    return [format %.6f $best]
}

# An expression over the parameters of a cell.
proc dry::over {instance expression} {
    variable cells
    dict with cells $instance {
        dict with values {
            return [expr $expression]
        }
    }
}

# The rules of the two processing systems; others choose cells and addresses, which overlays fix themselves.
dry::command vivado apply_bd_automation {} {-rule -config} {
    set rule [expr {[dict exists $opt -rule] ? [dict get $opt -rule] : ""}]
    set config [expr {[dict exists $opt -config] ? [dict get $opt -config] : ""}]
    set allowed [dict create \
        xilinx.com:bd_rule:processing_system7 {make_external apply_board_preset Master Slave} \
        xilinx.com:bd_rule:zynq_ultra_ps_e {apply_board_preset}]
    if {![dict exists $allowed $rule]} {
        ::dry::problem "apply_bd_automation: no rule '$rule' among those that overlays use: [dict keys $allowed]"
        return ""
    }
    foreach {name value} $config {
        if {$name ni [dict get $allowed $rule]} {
            ::dry::problem "apply_bd_automation: rule $rule has no option $name"
        }
    }
    foreach path [lindex $words 0] {
        set instance [string trimleft $path /]
        if {[lindex [split [dict get $::dry::cells $instance vlnv] :] 2] ne [lindex [split $rule :] 2]} {
            ::dry::problem "apply_bd_automation: rule $rule is not for $instance"
        }
        if {[dict exists $config make_external]} {
            foreach name [split [string map {" " ""} [dict get $config make_external]] ,] {
                dict set ::dry::links /$instance/$name external
            }
        }
    }
    if {[dict exists $config apply_board_preset] && ![info exists ::dry::properties(project,$state(project),board_part)]} {
        ::dry::problem "apply_bd_automation: a board preset needs the property board_part of the project"
    }
    return ""
}

# --- pins and interfaces --------------------------------------------------------------------------------

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

# --- the check of the whole -----------------------------------------------------------------------------

dry::command vivado validate_bd_design {-force} {} {
    if {![::dry::need_design validate_bd_design]} {
        return ""
    }
    dict for {instance cell} $::dry::cells {
        ::dry::check_pins $instance
        ::dry::check_interfaces $instance
    }
    ::dry::check_addresses
    set state(valid) 1
    return ""
}

proc dry::check_pins {instance} {
    variable net_of
    variable nets
    dict for {name pin} [dict get [entry_of $instance] pins] {
        set path /$instance/$name
        set connected [info exists net_of($path)]
        if {![over $instance [dict get $pin when]]} {
            if {$connected} {
                problem "pin $path is connected, but switched off by the parameters of $instance"
            }
            continue
        }
        set drivers [expr {$connected ? [drivers_of [dict get $nets $net_of($path)]] : {}}]
        if {[dict get $pin required] && ![llength $drivers]} {
            problem "pin $path is not driven"
        }
        if {[dict get $pin dir] eq "in" && [llength $drivers] == 1} {
            check_driver $path $pin [lindex $drivers 0]
        }
    }
}

proc dry::check_driver {path pin driver} {
    lassign [split $driver /] - source name
    set from [dict get [entry_of $source] pins $name]
    set kinds [list [dict get $from kind] [dict get $pin kind]]
    if {"clk" in $kinds && $kinds ne {clk clk}} {
        problem "$driver drives $path: one is a clock, the other is not"
    }
    set bits [over $source [dict get $from width]]
    set wanted [over [lindex [split $path /] 1] [dict get $pin width]]
    if {$bits && $wanted && $bits != $wanted} {
        problem "$driver has $bits bits, $path $wanted"
    }
}

proc dry::check_interfaces {instance} {
    variable links
    dict for {name interface} [dict get [entry_of $instance] interfaces] {
        set path /$instance/$name
        if {![over $instance [dict get $interface when]]} {
            if {[dict exists $links $path]} {
                problem "interface $path is connected, but switched off by the parameters of $instance"
            }
            continue
        }
        if {![dict exists $links $path]} {
            if {[dict get $interface required]} {
                problem "interface $path is not connected"
            }
            continue
        }
        set other [dict get $links $path]
        if {[dict get $interface mode] ne "master" || $other eq "external"} {
            continue
        }
        lassign [split $other /] - peer peer_name
        set bits [over $instance [dict get $interface bits]]
        set wanted [over $peer [dict get [entry_of $peer] interfaces $peer_name bits]]
        if {$bits && $wanted && $bits != $wanted} {
            problem "$path carries words of $bits bits, $other of $wanted"
        }
    }
}

dry::commands_without_effect vivado {
    save_bd_design {} {} regenerate_bd_layout {} {} close_bd_design {} {} startgroup {} {} endgroup {} {}
}

proc dry::report_diagram {} {
    variable cells
    variable links
    variable nets
    dict for {instance cell} $cells {
        emit cell $instance [dict get $cell vlnv]
        dict for {name value} [dict get $cell chosen] {
            emit parameter $instance $name $value
        }
    }
    dict for {path other} $links {
        lassign [split $path /] - instance name
        set interface [dict get [entry_of $instance] interfaces $name]
        if {[dict get $interface protocol] eq "axis" && [dict get $interface mode] eq "master"} {
            emit stream [string trimleft $path /] [string trimleft $other /]
        }
    }
    dict for {number paths} $nets {
        emit net [string trimleft [lindex [drivers_of $paths] 0] /] {*}[lmap path $paths {string trimleft $path /}]
    }
    report_addresses
}
