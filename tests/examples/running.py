# SPDX-License-Identifier: Apache-2.0
"""Running an example as its user does: a script of its own, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
DATA = EXAMPLES / "data"


def run(script: Path, *arguments: object, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    """The finished process, whatever its exit status."""
    quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [python, str(script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=quiet, timeout=600, check=False)
