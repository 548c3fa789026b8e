# SPDX-License-Identifier: Apache-2.0
"""Where a build came from: version of this package, and its git revision where it is a working tree."""

from __future__ import annotations

import importlib.metadata
import subprocess
from pathlib import Path
from typing import Any

ANSWER_S = 30


def origin() -> dict[str, Any]:
    """Version, revision and whether files were changed since; None for what is not known (an installed wheel)."""
    here = Path(__file__).resolve().parent
    try:
        version = importlib.metadata.version("hls4attn")
    except importlib.metadata.PackageNotFoundError:
        version = None
    revision = _git(here, "rev-parse", "HEAD") if _tracked(here) else None
    changes = _git(here, "status", "--porcelain") if revision else None
    return {"version": version, "git_revision": revision, "git_dirty": None if changes is None else bool(changes)}


def _tracked(here: Path) -> bool:
    """Whether this very file is part of the repository around it, which may be somebody else's."""
    return _git(here, "ls-files", "--error-unmatch", Path(__file__).name) is not None


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=ANSWER_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
