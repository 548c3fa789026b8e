# SPDX-License-Identifier: Apache-2.0
"""Hooks of the site: the folders under their import names, for the pages of reference."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def on_config(config: Any) -> Any:
    """Make the links under ``build/types`` that `make lint` makes, too; griffe reads the sources through them."""
    package = ROOT / "build" / "types" / "hls4attn"
    package.mkdir(parents=True, exist_ok=True)
    for folder in ("models", "hls", "overlays", "host"):
        target = Path("..", "..", "..", folder)
        link = package / folder
        if not link.is_symlink() or link.readlink() != target:
            # A rename, so that nobody who reads at the same time finds nothing.
            fresh = package / f".{folder}.{os.getpid()}"
            fresh.symlink_to(target)
            fresh.replace(link)
    return config
