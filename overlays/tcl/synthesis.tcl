# SPDX-License-Identifier: Apache-2.0
# Synthesises the block design and the wrapper.  IPs that are synthesised already are kept.

proc hls4attn::stage_synthesis {} {
    open_built_project
    foreach run [get_runs -filter {IS_SYNTHESIS == 1}] {
        # what a crash left half done cannot be launched again as it is
        if {[get_property PROGRESS $run] ne "100%"} {
            reset_run $run
        }
    }
    reset_run synth_1
    start_run synth_1
    need_run synth_1 synth_design
    foreach run [get_runs -filter {IS_SYNTHESIS == 1}] {
        # not the status, which differs for an IP that came out of the cache
        if {[get_property PROGRESS $run] ne "100%"} {
            error "run $run of an IP ended with status '[get_property STATUS $run]' at [get_property PROGRESS $run]"
        }
    }
    close_project
}
