# SPDX-License-Identifier: Apache-2.0
"""What the verb `build` was asked for: which overlays, and no option that would change nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hls4attn.host.building.plans import CHOICES, IN_RTL, OVERLAYS
from hls4attn.models.errors import InputError

ALL = "all"


def overlay_names(overlay: str, model: Path | None) -> Sequence[str]:
    """The overlays that are meant.

    Raises:
        InputError: for an unknown one, or a model where none can be given.
    """
    if overlay == ALL:
        if model is not None:
            raise InputError(f"--overlay all builds this package's own overlays; leave out {model}")
        return OVERLAYS
    if overlay not in OVERLAYS:
        raise InputError(f"Unknown overlay {overlay!r}; known: {', '.join(OVERLAYS)}, {ALL}")
    return (overlay,)


def check_choices(overlay: str, config: Path | None, choices: Mapping[str, Any]) -> None:
    """Refuse options that would change nothing.

    Raises:
        InputError: naming them.
    """
    if overlay in (ALL, OVERLAYS[0]):
        return
    useless = sorted(set(choices) - CHOICES[overlay]) + (["config"] if config else [])
    if useless:
        raise InputError(f"The overlay {overlay} takes no choice of {', '.join(useless)}; leave it out")


def check_rtl(overlay: str, choices: Mapping[str, Any]) -> None:
    """Refuse what kernels in Verilog do not come with.

    Raises:
        InputError: saying what does not go together.
    """
    if overlay not in IN_RTL:
        raise InputError(f"--rtl builds {' or '.join(IN_RTL)}; leave it out. Received: --overlay {overlay}")
    if "backend" in choices:
        raise InputError(f"--rtl needs no high-level synthesis; leave out --backend {choices['backend']}, or --rtl")
    io_type = choices.get("io_type", "io_stream")
    if io_type != "io_stream":
        raise InputError(f"--rtl has kernels that stream only; leave out --io {io_type}, or --rtl")
