# SPDX-License-Identifier: Apache-2.0
"""What the user of `hls4attn report` asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hls4attn.models.errors import InputError

#: Options of the command line by the names that configurations have for them.
_OPTIONS = {
    "io_type": "--io",
    "reuse_factor": "--reuse",
    "lanes": "--lanes",
    "parallel_heads": "--parallel-heads",
}


@dataclass(frozen=True)
class Asked:
    """What the user asked for; None is for what was left open.

    Attributes:
        samples: on each rung; 0 climbs none.
        seed: of the random samples.
        stages: of the ladder.
        board: name of the board.
        choices: conversion options.
        json: file for the content.
    """

    samples: int | None = None
    seed: int | None = None
    stages: Sequence[str] | None = None
    board: str | None = None
    choices: Mapping[str, Any] = field(default_factory=dict)
    json: Path | None = None

    def check(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            InputError: naming it.
        """
        from hls4attn.host.flow import ALL_STAGES

        unknown = [s for s in self.stages or () if s not in ALL_STAGES]
        if unknown or self.stages == []:
            raise InputError(f"Unknown stages {unknown}; known: {', '.join(ALL_STAGES)}")
        for name, value in (("--samples", self.samples), ("--seed", self.seed)):
            if value is not None and value < 0:
                raise InputError(f"{name} must not be negative. Received: {value}")

    def refuse(self, reason: str, names: Sequence[str]) -> None:
        """Refuse options that would change nothing.

        Args:
            reason: why they would not.
            names: of the options, without those that choose a conversion, which are always refused.

        Raises:
            InputError: naming them.
        """
        given = {"samples": self.samples, "seed": self.seed, "stages": self.stages, "board": self.board}
        useless = [f"--{n}" for n in names if given.get(n) is not None] + [_OPTIONS.get(c, c) for c in self.choices]
        if useless:
            raise InputError(f"{reason}; leave out {', '.join(useless)}")
