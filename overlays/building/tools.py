# SPDX-License-Identifier: Apache-2.0
"""The vendor's tools as they are found on PATH.

High-level synthesis has had three launchers: `vivado_hls` (last release 2020.1), `vitis_hls`, and `vitis-run` (from
2023.2, the only one since 2024.2 announced the end of `vitis_hls`).  The newest that is there is taken.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from hls4attn.models.errors import ToolError
from hls4attn.overlays.scripts import Script
from hls4attn.overlays.scripts import Tool as Kind

#: Launchers in order of preference.
LAUNCHERS: Mapping[Kind, tuple[str, ...]] = {"hls": ("vitis-run", "vitis_hls", "vivado_hls"), "vivado": ("vivado",)}
OLDEST = (2020, 1)
ANSWER_S = 120  # a first start from a network drive takes a minute
_VERSION = re.compile(r"\bv?(20\d\d)\.(\d)(?:\.\d+)?\b")
REMEDY = "Source settings64.sh of Vivado and Vitis (2020.1 or later) in this shell, then run the same command again"


@dataclass(frozen=True)
class Installed:
    """One tool.

    Args:
        launcher: name of its command.
        path: of the command.
        version: year and release, such as (2024, 1).
        banner: how it names itself.
    """

    launcher: str
    path: Path
    version: tuple[int, int]
    banner: str

    @property
    def release(self) -> str:
        """Year and release as text."""
        return f"{self.version[0]}.{self.version[1]}"

    def command(self, script: Script) -> list[str]:
        """The command line that runs a script in the build folder."""
        source = f"scripts/{script.name}.tcl"
        arguments = {
            "vitis-run": ["--mode", "hls", "--tcl", source],
            "vitis_hls": ["-f", source],
            "vivado_hls": ["-f", source],
            # The log is our own copy of its output; a second one would land in the build folder.
            "vivado": ["-mode", "batch", "-notrace", "-nolog", "-nojournal", "-source", source],
        }
        return [str(self.path), *arguments[self.launcher]]


Tools = Mapping[Kind, Installed]


def find_tools() -> dict[Kind, Installed]:
    """The tools on PATH; those that are not there are left out.

    Raises:
        ToolError: if one is there and does not start, does not say its version, or is too old.
    """
    found: dict[Kind, Installed] = {}
    for kind, launchers in LAUNCHERS.items():
        for launcher in launchers:
            path = shutil.which(launcher)
            if path is not None:
                found[kind] = identify(launcher, Path(path))
                break
    return found


def missing(tools: Tools, wanted: Collection[Kind] = ("hls", "vivado")) -> list[str]:
    """What is not there of the tools that are wanted, as a user would look for it."""
    names = {"hls": "Vitis HLS (vitis-run, vitis_hls or vivado_hls)", "vivado": "Vivado (vivado)"}
    return [name for kind, name in names.items() if kind in wanted and kind not in tools]


def identify(launcher: str, path: Path) -> Installed:
    """A tool by what it says of itself.

    Args:
        launcher: name of its command.
        path: of the command.

    Raises:
        ToolError: if it does not start, does not say its version, or is too old.
    """
    option = "--version" if launcher == "vitis-run" else "-version"
    try:
        done = subprocess.run(
            [str(path), option],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ANSWER_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"{path} {option} did not answer within {ANSWER_S} s; check its installation") from error
    except OSError as error:
        raise ToolError(f"{path} does not start: {error.strerror}; check its installation") from error
    text = f"{done.stdout}\n{done.stderr}"
    line, match = next(((s, m) for s in text.splitlines() if (m := _VERSION.search(s))), ("", None))
    if match is None:
        said = " ".join(text.split())[:200] or "nothing"
        raise ToolError(f"{path} {option} names no version (exit status {done.returncode}); it said: {said}")
    version = (int(match[1]), int(match[2]))
    if version < OLDEST:
        raise ToolError(f"{path} is version {version[0]}.{version[1]}; {OLDEST[0]}.{OLDEST[1]} or later is needed")
    return Installed(launcher, path, version, line.strip(" *"))
