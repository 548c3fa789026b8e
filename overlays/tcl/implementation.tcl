# SPDX-License-Identifier: Apache-2.0
# Places and routes, and reports.  Whether the timing is met is read from the report by whoever runs this.

proc hls4attn::stage_implementation {} {
    variable reports
    open_built_project
    need_run synth_1 synth_design
    reset_run impl_1
    start_run impl_1 -to_step route_design
    need_run impl_1 route_design
    file mkdir $reports
    foreach name {utilization timing power} {
        file delete -force $reports/$name.rpt
    }
    open_run impl_1
    report_utilization -file $reports/utilization.rpt
    report_timing_summary -file $reports/timing.rpt
    report_power -file $reports/power.rpt
    close_project
}
