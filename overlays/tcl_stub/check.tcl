# SPDX-License-Identifier: Apache-2.0
# The check of a whole block design: what is not driven, not connected, or of another width.

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
