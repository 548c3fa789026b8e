# SPDX-License-Identifier: Apache-2.0
# Draws the block design in a new project: cells, streams, nets, interconnects, addresses; then the wrapper.

proc hls4attn::stage_design {} {
    variable part
    variable project
    variable design
    variable ip_repository
    variable ip_components
    foreach path $ip_components {
        need_file $path "the stages hls, kernel and shell make it; run those first"
    }
    file delete -force [file dirname $project]
    add_board_files
    create_project -force [file rootname [file tail $project]] [file dirname $project] -part $part
    choose_board
    set_property ip_repo_paths [list [file normalize $ip_repository]] [current_project]
    update_ip_catalog -rebuild
    create_bd_design $design
    create_ps
    create_cells
    connect_streams
    connect_control
    connect_memory
    connect_nets
    assign_control
    assign_memory
    validate_bd_design
    check_clock
    save_bd_design
    set file [get_files $design.bd]
    generate_target all $file
    add_files -norecurse [make_wrapper -files $file -top]
    set_property top ${design}_wrapper [current_fileset]
    update_compile_order -fileset sources_1
    find_handoff
    close_project
}

# Board files that do not come with Vivado may lie anywhere.
proc hls4attn::add_board_files {} {
    if {[info exists ::env(HLS4ATTN_BOARD_FILES)]} {
        need_file $::env(HLS4ATTN_BOARD_FILES) "the environment variable HLS4ATTN_BOARD_FILES names this folder"
        set_param board.repoPaths [list $::env(HLS4ATTN_BOARD_FILES)]
    }
}

# The board part of the design; if only another revision of its file is installed, the newest of those.
proc hls4attn::choose_board {} {
    variable board_part
    variable board_connections
    set chosen [get_board_parts -quiet $board_part]
    if {![llength $chosen]} {
        set family [join [lrange [split $board_part :] 0 end-1] :]
        set chosen [lindex [lsort -dictionary [get_board_parts -quiet $family:*]] end]
        if {$chosen eq ""} {
            error "no board file for $board_part: install it in Vivado (Tools > Vivado Store > Boards), or set\
                HLS4ATTN_BOARD_FILES to the folder that holds the board's files, and run this stage again"
        }
        puts "WARNING: board file $board_part is not installed; taking $chosen"
    }
    set_property board_part [lindex $chosen 0] [current_project]
    if {$board_connections eq ""} {
        return
    }
    # Nothing of the card is used, and its revisions are not those of the module.
    if {[catch {set_property board_connections $board_connections [current_project]} message]} {
        puts "WARNING: without the carrier card $board_connections: $message"
    }
}

# Newest version of an IP in the catalogue of this Vivado; empty if it has none.
proc hls4attn::newest_ip {name} {
    set found [get_ipdefs -quiet -all $name:*]
    if {![llength $found]} {
        return ""
    }
    set vlnvs {}
    foreach item $found {
        lappend vlnvs [get_property VLNV $item]
    }
    return [lindex [lsort -dictionary $vlnvs] end]
}

# `names` lists equal IPs in order of preference: not every Vivado has every one.
proc hls4attn::create_cell {instance names config} {
    set refused ""
    foreach name $names {
        set vlnv [newest_ip $name]
        if {$vlnv eq ""} {
            continue
        }
        set type [expr {[lindex [split $vlnv :] 1] eq "inline_hdl" ? "inline_hdl" : "ip"}]
        # the catalogue also lists IPs that are discontinued
        if {[catch {create_bd_cell -type $type -vlnv $vlnv $instance} message]} {
            append refused "; $vlnv cannot be made: $message"
            continue
        }
        if {[llength $config]} {
            set_property -dict [concat {*}$config] [get_bd_cells $instance]
        }
        return
    }
    error "the IP catalogue has no [join $names { or }], of which $instance would be one$refused"
}

proc hls4attn::create_ps {} {
    variable ps
    variable ps_ip
    variable ps_rule
    variable ps_automation
    variable ps_config
    create_cell $ps $ps_ip {}
    apply_bd_automation -rule $ps_rule -config [concat {*}$ps_automation] [get_bd_cells $ps]
    # after the preset, which would undo it
    set_property -dict [concat {*}$ps_config] [get_bd_cells $ps]
}

proc hls4attn::create_cells {} {
    variable cells
    foreach cell $cells {
        create_cell {*}$cell
    }
}

# Vivado only warns of a name that it does not find, and then makes a net with one end.
proc hls4attn::pin {path} {
    return [found $path [get_bd_pins $path]]
}

proc hls4attn::interface {path} {
    return [found $path [get_bd_intf_pins $path]]
}

proc hls4attn::found {path objects} {
    if {[llength $objects] != 1} {
        error "expected one $path in the block design, found [llength $objects]"
    }
    return $objects
}

proc hls4attn::connect_streams {} {
    variable streams
    foreach stream $streams {
        lassign $stream driver sink
        connect_bd_intf_net [interface $driver] [interface $sink]
    }
}

# One SmartConnect from the processing system to all registers.
proc hls4attn::connect_control {} {
    variable control_net
    variable control_master
    variable control_slaves
    connect_bd_intf_net [interface $control_master] [interface $control_net/S00_AXI]
    set number 0
    foreach slave $control_slaves {
        lassign $slave instance interface address range
        connect_bd_intf_net [interface [format %s/M%02d_AXI $control_net $number]] [interface $instance/$interface]
        incr number
    }
}

# Another one from the DMA to the memory.
proc hls4attn::connect_memory {} {
    variable memory_net
    variable memory_masters
    variable memory_port
    set number 0
    foreach master $memory_masters {
        connect_bd_intf_net [interface [lindex $master 0]] [interface [format %s/S%02d_AXI $memory_net $number]]
        incr number
    }
    connect_bd_intf_net [interface $memory_net/M00_AXI] [interface $memory_port]
}

proc hls4attn::connect_nets {} {
    variable nets
    foreach net $nets {
        lassign $net driver sinks
        foreach sink $sinks {
            connect_bd_net [pin $driver] [pin $sink]
        }
    }
}

# Slave segments below an interface.  Some IPs write its name in the other case there, so it is searched for.
proc hls4attn::segments {path} {
    set found {}
    foreach segment [get_bd_addr_segs] {
        if {[string match -nocase "*/$path/*" "/[string trimleft $segment /]"]} {
            lappend found $segment
        }
    }
    if {![llength $found]} {
        error "$path has no address segment"
    }
    return $found
}

# Explicit, so that the addresses are those of the emulated board.
proc hls4attn::assign_control {} {
    variable control_space
    variable control_slaves
    foreach slave $control_slaves {
        lassign $slave instance interface address range
        assign_bd_address -offset $address -range $range -force \
            -target_address_space [get_bd_addr_spaces $control_space] [lindex [segments $instance/$interface] 0]
    }
}

# Of the memory port only the DDR that buffers come from; the rest would be left without an address.
proc hls4attn::assign_memory {} {
    variable memory_masters
    variable memory_segments
    variable memory_segment
    variable memory_range
    foreach master $memory_masters {
        set space [get_bd_addr_spaces [lindex $master 1]]
        set assigned 0
        foreach segment [segments $memory_segments] {
            if {[file tail $segment] eq $memory_segment} {
                assign_bd_address -offset 0x0 -range $memory_range -force -target_address_space $space $segment
                set assigned 1
            } else {
                if {[catch {exclude_bd_addr_seg -target_address_space $space $segment} message]} {
                    puts "WARNING: $segment is not excluded: $message"
                }
            }
        }
        if {!$assigned} {
            error "the memory port has no segment $memory_segment; found: [segments $memory_segments]"
        }
    }
}

# The host computes times with the clock of the design, so the board's preset must make the same one.
proc hls4attn::check_clock {} {
    variable ps
    variable clock_property
    variable clock_mhz
    set made [get_property $clock_property [get_bd_cells $ps]]
    if {![string is double -strict $made] || abs($made - $clock_mhz) > 0.001 * $clock_mhz} {
        error "the PL clock would be '$made' MHz instead of $clock_mhz MHz: the board file has another reference clock or\
            PLL than the design's board; correct ps_clock_mhz in the table of boards"
    }
}
