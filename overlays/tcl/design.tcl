# SPDX-License-Identifier: Apache-2.0
# Draws the block design in a new project: cells, streams, nets, interconnects, addresses; then the wrapper.

proc hls4attn::stage_design {} {
    variable part
    variable project
    variable design
    variable ip_repository
    variable ip_components
    foreach path $ip_components {
        need_file $path "the stages hls and shell make it; run those first"
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
    if {$board_connections ne ""} {
        set_property board_connections $board_connections [current_project]
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
    foreach name $names {
        set vlnv [newest_ip $name]
        if {$vlnv ne ""} {
            set type [expr {[lindex [split $vlnv :] 1] eq "inline_hdl" ? "inline_hdl" : "ip"}]
            create_bd_cell -type $type -vlnv $vlnv $instance
            if {[llength $config]} {
                set_property -dict [concat {*}$config] [get_bd_cells $instance]
            }
            return
        }
    }
    error "the IP catalogue has no [join $names { or }], of which $instance would be one"
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

proc hls4attn::connect_streams {} {
    variable streams
    foreach stream $streams {
        lassign $stream driver sink
        connect_bd_intf_net [get_bd_intf_pins $driver] [get_bd_intf_pins $sink]
    }
}

# One SmartConnect from the processing system to all registers.
proc hls4attn::connect_control {} {
    variable control_net
    variable control_master
    variable control_slaves
    connect_bd_intf_net [get_bd_intf_pins $control_master] [get_bd_intf_pins $control_net/S00_AXI]
    set number 0
    foreach slave $control_slaves {
        lassign $slave instance interface address range
        connect_bd_intf_net [get_bd_intf_pins [format %s/M%02d_AXI $control_net $number]] \
            [get_bd_intf_pins $instance/$interface]
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
        connect_bd_intf_net [get_bd_intf_pins [lindex $master 0]] [get_bd_intf_pins [format %s/S%02d_AXI $memory_net $number]]
        incr number
    }
    connect_bd_intf_net [get_bd_intf_pins $memory_net/M00_AXI] [get_bd_intf_pins $memory_port]
}

proc hls4attn::connect_nets {} {
    variable nets
    foreach net $nets {
        lassign $net driver sinks
        foreach sink $sinks {
            connect_bd_net [get_bd_pins $driver] [get_bd_pins $sink]
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
                assign_bd_address -offset 0 -range $memory_range -force -target_address_space $space $segment
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
