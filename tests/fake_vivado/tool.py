# SPDX-License-Identifier: Apache-2.0
"""A stand-in for `vivado`, `vitis-run`, `vitis_hls` and `vivado_hls`: ``tool.py LAUNCHER ARGUMENTS...``.

It plays what the JSON file FAKE_VIVADO says: `release`; `writes`, the files of every script by its name; `bit` and
`hwh`, files to copy; `family`; and `fault`, a pair of the script's name and what happens there.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import reports

BANNERS = {
    "vivado": "vivado v{} (64-bit)",
    "vitis-run": "****** vitis-run v{} (64-bit)",
    "vitis_hls": "Vitis HLS - High-Level Synthesis from C, C++ and OpenCL v{} (64-bit)",
    "vivado_hls": "Vivado(TM) HLS - High-Level Synthesis from C, C++ and SystemC v{} (64-bit)",
}
LICENCE = (
    "ERROR: [Common 17-345] A valid license was not found for feature 'Synthesis' and/or device 'xc7z020'. "
    "Please run the Vivado License Manager for assistance in determining\nwhich features and devices are licensed."
)
STATUS = {"licence": 1, "disk": 1, "killed": 137, "script": 1, "run": 1}
SAYS = {
    "licence": LICENCE,
    "disk": "ERROR: [Common 17-1294] Unable to create directory [.Xil]: No space left on device",
    "killed": 'rdiArgs.sh: line 421:  3222 Killed                  "$RDI_PROG" "$@"',
    "crash": 'rdiArgs.sh: line 421:  3223 Segmentation fault      (core dumped) "$RDI_PROG" "$@"',
    "script": "ERROR: [BD 5-390] IP definition not found for VLNV: xilinx.com:ip:axi_dam:7.1\n    while executing",
    "run": "ERROR: [Common 17-39] 'wait_on_runs' failed due to earlier errors.",
}


def fault(kind, name):
    """Fail as asked; what it returns is a reason to go on."""
    if kind == "wait":
        # A run that Vivado launches has a process group of its own.
        child = subprocess.Popen(["sleep", "600"], preexec_fn=os.setpgrp)  # noqa: PLW1509 (there are no threads)
        Path("fake_pids").write_text(f"{os.getpid()} {child.pid}")
        time.sleep(600)
    if kind == "run":
        log = Path("vivado/overlay.runs/synth_1/runme.log")
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("INFO: fine\nERROR: [Synth 8-439] module 'missing_cell' not found [overlay.v:7]\n")
    if kind in SAYS:
        print(SAYS[kind], flush=True)
    if kind == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind in STATUS:
        sys.exit(STATUS[kind])
    if kind not in ("timing", "silent"):
        raise ValueError(f"{name}: no fault is called {kind}")


def content(path, play, kind):
    """A report in its form, a file to copy, or some bytes."""
    release, family = play["release"], play.get("family", "zynq")
    if path.endswith("utilization.rpt"):
        return reports.utilization(release, family)
    if path.endswith("timing.rpt"):
        return reports.timing(release, "-0.731", failing=41) if kind == "timing" else reports.timing(release)
    if path.endswith("power.rpt"):
        return reports.power(release)
    if path.startswith("reports/hls_"):
        return reports.csynth(release, dsp_tag="DSP48E" if release < "2020.2" else "DSP")
    return f"made by the fake of {release}\n"


def main():
    """Play one run."""
    launcher, *arguments = sys.argv[1:]
    play = json.loads(Path(os.environ["FAKE_VIVADO"]).read_text())
    if arguments[:1] in (["-version"], ["--version"]):
        print(BANNERS[launcher].format(play["release"]))
        return
    script = Path(arguments[-1])
    name = script.stem
    assert script.is_file(), script
    print(f"\n****** {BANNERS[launcher].format(play['release']).strip('* ')}\nsource {script}")
    print("[Mon Jan  1 10:00:00 2024] Launched synth_1...\nCommand: synth_design -top overlay_wrapper", flush=True)
    print(
        "\nPhase 1 Placer Initialization\nPhase 1.1 Netlist Sorting\nPhase 1 Placer Initialization | Checksum: 1f",
        flush=True,
    )
    where, kind = play.get("fault") or (None, None)
    if name == where:
        fault(kind, name)
    else:
        kind = None
    if kind == "silent":
        return
    with Path("fake_runs").open("a") as record:
        record.write(f"{name} {os.environ.get('HLS4ATTN_JOBS')}\n")
    for path in play["writes"][name]:
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        source = play.get(target.suffix.removeprefix("."))
        if source and path.startswith("out/"):
            shutil.copy(source, target)
        else:
            target.write_text(content(path, play, kind))


if __name__ == "__main__":
    main()
