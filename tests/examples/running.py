# SPDX-License-Identifier: Apache-2.0
"""Running an example as its user does: a script of its own, in a process of its own."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

from hls4attn.host.cli import main

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
DATA = EXAMPLES / "data"


def run(script: Path, *arguments: object, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    """The finished process, whatever its exit status."""
    quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [python, str(script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=quiet, timeout=600, check=False)


def command(*arguments: object) -> tuple[int, str]:
    """The command line in this process: exit status, and what it prints as one line."""
    text = io.StringIO()
    code: object = 0
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        try:
            main([*map(str, arguments)])
        except SystemExit as done:
            code = done.code
    return int(str(code or 0)), " ".join(text.getvalue().split())
