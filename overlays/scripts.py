# SPDX-License-Identifier: Apache-2.0
"""The Tcl that builds an overlay, stage by stage; the same text for every version of the tools."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Tool = Literal["hls", "vivado"]
#: In the order in which they run; `hls` has one script a kernel.
STAGES = ("hls", "shell", "design", "synthesis", "implementation", "bitstream")


@dataclass(frozen=True)
class Script:
    """One run of a tool.  It runs in the build folder, and every path is relative to that.

    Args:
        stage: which of `STAGES`.
        name: unique; the script is written to ``scripts/<name>.tcl``, its log to ``logs/<name>.log``.
        tool: which tool runs it.
        text: the Tcl.
        reads: files that earlier scripts or the writer of the folder must have left.
        writes: files that it must leave; a run that does not has failed.
    """

    stage: str
    name: str
    tool: Tool
    text: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
