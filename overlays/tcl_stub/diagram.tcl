# SPDX-License-Identifier: Apache-2.0
# A block design: its cells with their parameters, and what is reported of it in the end.

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
