# SPDX-License-Identifier: Apache-2.0
# Address spaces of masters, segments of slaves, and what is assigned or excluded.

namespace eval dry {
    variable assigned {} ;# space, segment, offset, range
    variable excluded {} ;# space, segment
}

proc dry::clear_addresses {} {
    variable assigned {}
    variable excluded {}
}

# Paths of a table's items of all active interfaces; `make` makes them of instance and interface.
proc dry::active_interfaces {mode} {
    variable cells
    set found {}
    foreach instance [dict keys $cells] {
        dict for {name interface} [dict get [entry_of $instance] interfaces] {
            if {[dict get $interface mode] eq $mode && [over $instance [dict get $interface when]]} {
                lappend found $instance $name $interface
            }
        }
    }
    return $found
}

proc dry::segments_of {instance interface} {
    set names [lassign [dict get $interface segments] group]
    return [lmap name $names {string cat / $instance / $group / $name}]
}

proc dry::all_segments {} {
    set found {}
    foreach {instance name interface} [active_interfaces slave] {
        lappend found {*}[segments_of $instance $interface]
    }
    return $found
}

# Space -> base, bytes of the window of its master (0: any), path of the interface.
proc dry::all_spaces {} {
    set found [dict create]
    foreach {instance name interface} [active_interfaces master] {
        if {[llength [dict get $interface space]]} {
            lassign [dict get $interface space] space base bytes
            dict lappend found /$instance/$space [list $base $bytes /$instance/$name]
        }
    }
    return $found
}

dry::command vivado get_bd_addr_spaces {} {} {
    set found {}
    foreach name $words {
        set path /[string trimleft $name /]
        if {[dict exists [::dry::all_spaces] $path]} {
            lappend found [::dry::object space $path]
        } else {
            ::dry::problem "address space $name does not exist; there are: [dict keys [::dry::all_spaces]]"
        }
    }
    return $found
}

dry::command vivado get_bd_addr_segs {-addressables -addressed -excluded} {} {
    set all [::dry::all_segments]
    if {![llength $words]} {
        return [lmap path $all {::dry::object segment $path}]
    }
    set found {}
    foreach name $words {
        set path /[string trimleft $name /]
        if {$path in $all} {
            lappend found [::dry::object segment $path]
        } else {
            ::dry::problem "address segment $name does not exist"
        }
    }
    return $found
}

dry::command vivado assign_bd_address {-force} {-offset -range -target_address_space} {
    foreach name {-offset -range -target_address_space} {
        if {![dict exists $opt $name] || [dict get $opt $name] eq ""} {
            ::dry::problem "assign_bd_address [join $words]: without $name Vivado would choose the address"
            return ""
        }
    }
    set space [dict get $opt -target_address_space]
    foreach number {-offset -range} {
        if {![string is entier -strict [dict get $opt $number]]} {
            ::dry::problem "assign_bd_address $number: not a number: [dict get $opt $number]"
            return ""
        }
    }
    foreach segment [concat {*}$words] {
        lappend ::dry::assigned \
            [list $space $segment [expr {[dict get $opt -offset]}] [expr {[dict get $opt -range]}]]
    }
    set state(valid) 0
    return ""
}

dry::command vivado exclude_bd_addr_seg {} {-target_address_space} {
    foreach segment [concat {*}$words] {
        lappend ::dry::excluded [list [dict get $opt -target_address_space] $segment]
    }
    return ""
}

# Slave interfaces that a master's interface reaches, through interconnects.
proc dry::reached {path} {
    variable links
    variable cells
    if {![dict exists $links $path] || [dict get $links $path] eq "external"} {
        return {}
    }
    lassign [split [dict get $links $path] /] - instance name
    if {[lindex [split [dict get $cells $instance vlnv] :] 2] ne "smartconnect"} {
        return [list $instance $name]
    }
    set found {}
    dict for {each interface} [dict get [entry_of $instance] interfaces] {
        if {[dict get $interface mode] eq "master" && [over $instance [dict get $interface when]]} {
            lappend found {*}[reached /$instance/$each]
        }
    }
    return $found
}

proc dry::check_addresses {} {
    variable assigned
    variable excluded
    dict for {space windows} [all_spaces] {
        set visible {}
        foreach window $windows {
            foreach {instance name} [reached [lindex $window 2]] {
                lappend visible {*}[segments_of $instance [dict get [entry_of $instance] interfaces $name]]
            }
        }
        set here [lsearch -all -inline -index 0 -exact $assigned $space]
        foreach segment $visible {
            set found [lsearch -all -inline -index 1 -exact $here $segment]
            if {![llength $found] && [list $space $segment] ni $excluded} {
                problem "segment $segment has no address in $space"
            } elseif {[llength $found] > 1} {
                problem "segment $segment has [llength $found] addresses in $space"
            }
        }
        check_space $space $windows $visible $here
    }
}

proc dry::check_space {space windows visible here} {
    foreach item $here {
        lassign $item - segment offset range
        set what [format {%s at 0x%X, 0x%X bytes} $segment $offset $range]
        if {$segment ni $visible} {
            problem "$space does not reach $segment, which has an address there"
        }
        if {$range < 4096 || $range & ($range - 1) || $offset % $range} {
            problem "$what: a range must be a power of two from 4096, and the offset a multiple of it"
        }
        set fits 0
        foreach window $windows {
            lassign $window base bytes
            incr fits [expr {!$bytes || ($offset >= $base && $offset + $range <= $base + $bytes)}]
        }
        if {!$fits} {
            problem "$what is outside what the masters of $space address: [lmap w $windows {lrange $w 0 1}]"
        }
    }
    for {set i 0} {$i < [llength $here]} {incr i} {
        for {set j [expr {$i + 1}]} {$j < [llength $here]} {incr j} {
            lassign [lindex $here $i] - first a a_range
            lassign [lindex $here $j] - second b b_range
            if {$first ne $second && $a < $b + $b_range && $b < $a + $a_range} {
                problem "addresses overlap in $space: $first and $second"
            }
        }
    }
}

proc dry::report_addresses {} {
    variable assigned
    foreach item $assigned {
        lassign $item space segment offset range
        emit address [string trimleft $space /] [string trimleft $segment /] $offset $range
    }
}
