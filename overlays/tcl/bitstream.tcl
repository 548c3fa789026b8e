# SPDX-License-Identifier: Apache-2.0
# Writes the bitstream and collects it with the handoff and the archive of both.

proc hls4attn::stage_bitstream {} {
    variable design
    variable output
    open_built_project
    set folder [get_property DIRECTORY [get_runs impl_1]]
    need_file $folder/${design}_wrapper_routed.dcp "the stage implementation writes it; run that first"
    # this step alone, even if an earlier attempt at it failed
    reset_run impl_1 -from_step write_bitstream
    start_run impl_1 -to_step write_bitstream
    need_run impl_1 write_bitstream
    file mkdir [file dirname $output]
    file delete -force $output.bit $output.hwh $output.xsa
    file copy -force $folder/${design}_wrapper.bit $output.bit
    file copy -force [find_handoff] $output.hwh
    write_hw_platform -fixed -include_bit -force -file $output.xsa
    close_project
}
