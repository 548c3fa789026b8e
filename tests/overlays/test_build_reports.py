# SPDX-License-Identifier: Apache-2.0
"""Reports of Vivado and Vitis HLS as numbers; causes of failures; phases of logs."""

import pytest

from hls4attn.models.errors import BuildError
from hls4attn.overlays.building.diagnosis import explain
from hls4attn.overlays.building.hls_report import parse_csynth
from hls4attn.overlays.building.phases import phase_of
from hls4attn.overlays.building.reports import parse_power, parse_timing, parse_utilization
from tests.fake_vivado import reports


@pytest.mark.parametrize("release", ["2020.1", "2021.1", "2025.2"])
@pytest.mark.parametrize("family", ["zynq", "zynquplus"])
def test_utilization_of_every_family_and_release(release, family):
    found = parse_utilization(reports.utilization(release, family, lut=26600, bram=34.5), "u.rpt")
    assert found["lut"] == {"used": 26600, "available": 53200, "percent": 50.0}
    assert found["bram36"]["used"] == 34.5 and found["dsp"]["available"] == 220
    assert set(found) == {"lut", "ff", "bram36", "dsp"}


def test_utilization_with_ultra_ram():
    found = parse_utilization(reports.utilization("2024.1", "zynquplus", uram=1), "u.rpt")
    assert found["uram"] == {"used": 1, "available": 96, "percent": 1.04}


def test_truncated_utilization_names_what_is_missing():
    text = reports.utilization()
    with pytest.raises(BuildError, match=r"u\.rpt .* no row DSPs"):
        parse_utilization(text[: text.index("4. DSP")], "u.rpt")
    with pytest.raises(BuildError, match="Slice LUTs or CLB LUTs"):
        parse_utilization("", "u.rpt")


def test_timing_met_and_missed():
    met = parse_timing(reports.timing(), "t.rpt")
    assert (met.met, met.wns_ns, met.whs_ns, met.setup_failing, met.setup_endpoints) == (True, 0.412, 0.021, 0, 41234)
    assert isinstance(met.setup_failing, int) and met.wpws_ns == 3.75
    missed = parse_timing(reports.timing(wns="-0.731", failing=41), "t.rpt")
    assert (missed.met, missed.wns_ns, missed.setup_failing) == (False, -0.731, 41)


@pytest.mark.parametrize("changes", [{"met": False}, {"whs": "-0.001"}, {"wpws": "-0.1"}])
def test_timing_needs_verdict_and_slacks(changes):
    assert not parse_timing(reports.timing(**changes), "t.rpt").met


def test_timing_without_pulse_widths_or_clock():
    found = parse_timing(reports.timing(wpws="NA", whs="inf"), "t.rpt")
    assert found.met and found.wpws_ns is None and found.whs_ns is None
    with pytest.raises(BuildError, match="no clock constraint"):
        parse_timing(reports.timing(wns="NA"), "t.rpt")


@pytest.mark.parametrize("end", ["WNS(ns)", "-------  ", "0.412"])
def test_truncated_timing_is_refused(end):
    text = reports.timing()
    with pytest.raises(BuildError, match="not a complete timing report"):
        parse_timing(text[: text.index(end) + 4], "t.rpt")


def test_power_and_its_remarks():
    found = parse_power(reports.power(), "p.rpt")
    assert found == {
        "total_w": 1.873,
        "dynamic_w": 1.731,
        "static_w": 0.142,
        "junction_c": 46.6,
        "confidence": "Medium",
    }
    assert parse_power(reports.power(total="125.7 (Junction temp exceeded!)"), "p.rpt")["total_w"] == 125.7
    with pytest.raises(BuildError, match="Total On-Chip Power"):
        parse_power("| Dynamic (W) | 1 |", "p.rpt")


@pytest.mark.parametrize("tag", ["DSP", "DSP48E"])
def test_csynth_of_old_and_new_tools(tag):
    found = parse_csynth(reports.csynth(dsp_tag=tag), "c.xml")
    assert (found["latency_max"], found["interval_min"], found["estimated_ns"]) == (1234, 567, 7.3)
    assert found["resources"]["dsp"] == {"used": 96, "available": 220}
    assert found["top"] == "attn" and found["target_ns"] == 10.0


def test_csynth_without_known_latency():
    found = parse_csynth(reports.csynth(latency="undef", interval="?"), "c.xml")
    assert found["latency_max"] is None and found["interval_max"] is None


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (reports.csynth()[:-30], "truncated"),
        ("<profile/>", "no SummaryOfOverallLatency"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><profile/>', "entities"),
    ],
)
def test_foreign_csynth_is_refused(text, match):
    with pytest.raises(BuildError, match=match):
        parse_csynth(text, "c.xml")


LICENCE = "ERROR: [Common 17-345] A valid license was not found for feature 'Implementation' and/or device 'xczu7ev'."


@pytest.mark.parametrize(
    ("text", "status", "cause", "told"),
    [
        (LICENCE, 1, "licence", "XILINXD_LICENSE_FILE"),
        ("ERROR: [Common 17-49] Internal Data Exception: HDDMProto::writeMessage failed", 1, "disk full", "--out"),
        ("cp: error writing 'a': No space left on device", 1, "disk full", "--out"),
        ('rdiArgs.sh: line 421:  3222 Killed   "$RDI_PROG" "$@"', 1, "killed", "memory"),
        ("", -9, "killed", "--jobs"),
        ("", 139, "crash", "run the same command again"),
        ("Abnormal program termination (11)", 1, "crash", "hs_err_pid"),
        ("ERROR: [HLS 200-1023] Part 'xck26-sfvc784-2LV-c' is not installed.", 1, "part not installed", "installer"),
        ("ERROR: [Place 30-640] Place Check : This design requires more DSPs cells", 1, "does not fit", "--reuse"),
        ("ERROR: [BD 5-390] IP definition not found", 1, "error", "see the log"),
        ("CRITICAL WARNING: [DRC UTLZ-1] over-utilized", 1, "error", "exit status 1 and no error message"),
        ("INFO: [Common 17-345] was explained above", 1, "error", "exit status 1 and no error message"),
    ],
)
def test_causes_of_failures(tmp_path, monkeypatch, text, status, cause, told):
    monkeypatch.setattr("hls4attn.overlays.building.diagnosis.LITTLE", 0)
    log = tmp_path / "stage.log"
    log.write_text(f"INFO: before\n{text}\nINFO: after\n")
    error = explain("synthesis", status, log, [], tmp_path)
    assert error.cause == cause and told.lower() in str(error).lower()
    assert str(log) in str(error) and str(error).startswith(f"synthesis failed, {cause}: ")
    assert any(text in line for line in error.excerpt)


def test_an_error_of_a_run_comes_before_that_of_its_launcher(tmp_path, monkeypatch):
    monkeypatch.setattr("hls4attn.overlays.building.diagnosis.LITTLE", 0)
    (tmp_path / "a.log").write_text("ERROR: [Common 17-39] 'wait_on_runs' failed due to earlier errors.\n")
    (tmp_path / "runme.log").write_text("ERROR: [Synth 8-439] module 'x' not found\n")
    error = explain("synthesis", 1, tmp_path / "a.log", [tmp_path / "runme.log"], tmp_path)
    assert "module 'x' not found" in str(error) and error.log == tmp_path / "runme.log"


def test_a_failure_on_a_full_disk_is_taken_for_that(tmp_path, monkeypatch):
    monkeypatch.setattr("hls4attn.overlays.building.diagnosis.LITTLE", 1 << 62)
    (tmp_path / "a.log").write_text("ERROR: [Common 17-70] Application Exception\n")
    error = explain("synthesis", 1, tmp_path / "a.log", [], tmp_path)
    assert error.cause == "disk full" and "Application Exception" in str(error)


@pytest.mark.parametrize(
    ("line", "phase"),
    [
        ("Command: route_design -directive Explore", "routing"),
        ("Phase 1 Placer Initialization", "Placer Initialization"),
        ("Phase 4 Rip-up And Reroute | Checksum: 12ab", "Rip-up And Reroute"),
        ("Phase 1.1 Netlist Sorting", None),
        ("Starting Routing Task", "Routing"),
        ("Start Technology Mapping", "Technology Mapping"),
        ("[Sun Jan  2 12:31:01 2022] Launched impl_1...", "launched impl_1"),
        ("[Sun Jan  2 12:31:01 2022] Waiting for impl_1 to finish (timeout in 120 minutes)...", "waiting for impl_1"),
        ("INFO: [HLS 200-42] -- Implementing module 'attn_dense' ", "scheduling attn_dense"),
        ("hls4attn: exporting the handoff", "exporting the handoff"),
        ("INFO: [Common 17-349] Got license for feature 'Synthesis'", None),
    ],
)
def test_phases_of_logs(line, phase):
    assert phase_of(line) == phase
