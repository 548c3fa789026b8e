# SPDX-License-Identifier: Apache-2.0
"""Reports in the forms of the vendor's tools, with numbers of our own."""

FAMILIES = {"zynq": ("Slice LUTs", "Slice Registers"), "zynquplus": ("CLB LUTs", "CLB Registers")}
HEADINGS = (
    "WNS(ns)",
    "TNS(ns)",
    "TNS Failing Endpoints",
    "TNS Total Endpoints",
    "WHS(ns)",
    "THS(ns)",
    "THS Failing Endpoints",
    "THS Total Endpoints",
    "WPWS(ns)",
    "TPWS(ns)",
    "TPWS Failing Endpoints",
    "TPWS Total Endpoints",
)


def _table(rows):
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(rows[0]))]
    rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    lines = ["| " + " | ".join(str(c).ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in rows]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule, ""])


def _header(release, command):
    return f"| Tool Version : Vivado v.{release} (lin64)\n| Command      : {command}\n| Design State : Routed\n\n"


def utilization(release="2024.1", family="zynq", lut=21234, ff=18000, bram=34.5, dsp=120, uram=None):
    """As report_utilization -file; from 2021.1 on with the column of prohibited sites."""
    prohibited = release >= "2021.1"

    def rows(*sites):
        head = ["Site Type", "Used", "Fixed", *["Prohibited"] * prohibited, "Available", "Util%"]
        return [head, *([name, used, 0, *[0] * prohibited, of, share] for name, used, of, share in sites)]

    luts, registers = FAMILIES[family]
    logic = rows(
        (f"{luts}*", lut, 53200, f"{100 * lut / 53200:.2f}"),
        ("  LUT as Logic", lut - 900, 53200, "38.22"),
        ("    LUT as Shift Register", 900, "", ""),
        (registers, ff, 106400, f"{100 * ff / 106400:.2f}"),
        ("F7 Muxes", 1, 26600, "<0.01"),
    )
    memory = rows(
        ("Block RAM Tile", bram, 140, f"{100 * bram / 140:.2f}"),
        ("  RAMB36/FIFO*", int(bram), 140, "24.29"),
        *([("URAM", uram, 96, "1.00")] if uram is not None else []),
    )
    text = _header(release, "report_utilization -file reports/utilization.rpt")
    text += "1. Logic\n--------\n\n" + _table(logic) + "* Warning! The Final LUT count is typically lower.\n\n"
    text += "3. Memory\n---------\n\n" + _table(memory) + "* Note: each tile holds one RAMB36 or two RAMB18.\n\n"
    return text + "4. DSP\n------\n\n" + _table(rows(("DSPs", dsp, 220, "54.55"), ("  DSP48E1 only", dsp, "", "")))


def timing(release="2024.1", wns="0.412", whs="0.021", failing=0, wpws="3.750", met=None):
    """As report_timing_summary -file."""
    values = [wns, "0.000", failing, 41234, whs, "0.000", 0, 41234, wpws, "0.000", 0, 18123]
    widths = [max(len(h), len(str(v))) for h, v in zip(HEADINGS, values, strict=True)]
    met = failing == 0 if met is None else met
    rule = "-" * 96 + "\n"
    text = _header(release, "report_timing_summary -file reports/timing.rpt")
    text += f"{rule}| Design Timing Summary\n| ---------------------\n{rule}\n"
    for row in (HEADINGS, ["-" * len(h) for h in HEADINGS], values):
        text += "    " + "  ".join(str(cell).rjust(w) for cell, w in zip(row, widths, strict=True)) + "  \n"
    verdict = "All user specified timing constraints are met." if met else "Timing constraints are not met."
    text += f"\n\n{verdict}\n\n"
    if failing:
        text += f"Slack (VIOLATED) :        {wns}ns  (required time - arrival time)\n"
    return text


def power(release="2024.1", total="1.873"):
    """As report_power -file."""
    rows = {
        "Total On-Chip Power (W)": total,
        "Design Power Budget (W)": "Unspecified*",
        "Dynamic (W)": "1.731",
        "Device Static (W)": "0.142",
        "Junction Temperature (C)": "46.6",
        "Confidence Level": "Medium",
    }
    lines = "\n".join(f"| {name:<24} | {value:<12} |" for name, value in rows.items())
    return _header(release, "report_power -file reports/power.rpt") + f"1. Summary\n----------\n\n{lines}\n"


def csynth(release="2024.1", top="attn", dsp_tag="DSP", latency="1234", interval="567"):
    """As solution1/syn/report/csynth.xml; Vivado HLS called its slices DSP48E."""
    sites = {"BRAM_18K": (12, 280), dsp_tag: (96, 220), "FF": (11000, 106400), "LUT": (14000, 53200), "URAM": (0, 0)}
    used, available = ("".join(f"<{k}>{v[n]}</{k}>" for k, v in sites.items()) for n in (0, 1))
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<profile>
<ReportVersion><Version>{release}</Version></ReportVersion>
<UserAssignments><unit>ns</unit><ProductFamily>zynq</ProductFamily><Part>xc7z020-clg400-1</Part>
<TopModelName>{top}</TopModelName><TargetClockPeriod>10.00</TargetClockPeriod></UserAssignments>
<PerformanceEstimates><PipelineType>dataflow</PipelineType>
<SummaryOfTimingAnalysis><unit>ns</unit><EstimatedClockPeriod>7.300</EstimatedClockPeriod></SummaryOfTimingAnalysis>
<SummaryOfOverallLatency><unit>clock cycles</unit><Best-caseLatency>{latency}</Best-caseLatency>
<Average-caseLatency>{latency}</Average-caseLatency><Worst-caseLatency>{latency}</Worst-caseLatency>
<Interval-min>{interval}</Interval-min><Interval-max>{interval}</Interval-max></SummaryOfOverallLatency>
</PerformanceEstimates>
<AreaEstimates><Resources>{used}</Resources><AvailableResources>{available}</AvailableResources></AreaEstimates>
</profile>
"""
