# SPDX-License-Identifier: Apache-2.0
"""What a tool is doing, from the lines of its log.

Forms seen in logs of 2020.2 to 2025.2 (`runme.log` of runs, the console of batch mode, Vitis HLS); UG835 documents the
commands that are echoed, UG904 the phases of placer and router.
"""

from __future__ import annotations

import re

_NAMES = {
    "synth_design": "synthesising",
    "link_design": "linking",
    "opt_design": "optimising logic",
    "power_opt_design": "optimising power",
    "place_design": "placing",
    "phys_opt_design": "optimising physically",
    "route_design": "routing",
    "write_bitstream": "writing the bitstream",
}
_FORMS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"hls4attn: (.+)"), "{}"),  # our own scripts
    (re.compile(rf"Command: ({'|'.join(_NAMES)})\b"), "{}"),
    (re.compile(r"Phase \d+ ([A-Z][^|]*?)\s*(?:\|.*)?"), "{}"),  # those with a point in the number are details
    (re.compile(r"Start(?:ing)? ([A-Z][\w /&-]+?) Task"), "{}"),
    (
        re.compile(r"Start(?:ing)? ((?:RTL|Technology|Timing|Loading|Cross|Area|Final|IO|Renaming)[\w /-]*).*"),
        "{}",
    ),
    (re.compile(r"\[.+\] Launched (.+?)\.\.\."), "launched {}"),
    (re.compile(r"\[.+\] Waiting for (\w+) to finish.*"), "waiting for {}"),
    (re.compile(r"INFO: \[HLS 200-10\] Analyzing design file '(.+?)'.*"), "compiling {}"),
    (re.compile(r"INFO: \[HLS 200-10\] Starting hardware synthesis.*"), "scheduling"),
    (re.compile(r"INFO: \[HLS 200-42\] -- Implementing module '(.+?)'.*"), "scheduling {}"),
    (re.compile(r"INFO: \[HLS 200-10\] -- Generating RTL for module '(.+?)'.*"), "writing the RTL of {}"),
    (re.compile(r"INFO: \[IMPL 213-8\].*"), "exporting the IP"),
)
MAX_TEXT = 60


def phase_of(line: str) -> str | None:
    """What begins with this line; None if nothing does."""
    line = line.strip()
    for form, text in _FORMS:
        found = form.fullmatch(line) or (form.match(line) if text == "{}" and line.startswith("Command:") else None)
        if found:
            what = found[1] if found.groups() else ""
            return text.format(_NAMES.get(what, what))[:MAX_TEXT]
    return None
