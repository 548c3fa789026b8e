# SPDX-License-Identifier: Apache-2.0
"""What a measurement on a board gives; what was not measured is None."""

from __future__ import annotations

from dataclasses import dataclass

#: Runs before those that are timed, and how many are timed at least.
WARM_UP, MIN_RUNS = 3, 5


@dataclass(frozen=True)
class Quality:
    """How well a batch was answered.

    Attributes:
        samples: of the test set.
        mismatches: samples that differ from the integer reference.
        accuracy: share that was classified correctly; None where there are no classes.
    """

    samples: int
    mismatches: int
    accuracy: float | None


@dataclass(frozen=True)
class Cycles:
    """Clock cycles with a packet under way.

    Attributes:
        one: of a single sample.
        batch: of a whole batch.
        are: who counts them.
    """

    one: int
    batch: int
    are: str


@dataclass(frozen=True)
class Wall:
    """Wall time of `predict_codes`: codes in, codes out, everything between them included.

    Attributes:
        batch: samples a run.
        runs: that were timed, after `WARM_UP` that were not.
        median_s: median of a run, in seconds.
        best_s: shortest run.
        phases_s: mean seconds a run of each phase of the driver, and of the rest.
    """

    batch: int
    runs: int
    median_s: float
    best_s: float
    phases_s: dict[str, float]


@dataclass(frozen=True)
class Energy:
    """Energy of the runs of a batch, with all that the rails feed meanwhile.

    Attributes:
        rails_j: joules a sample of each rail that was read.
        mean_w: mean watts of each.
        rail: the one that counts; None if it was not said which.
        reason: why no rail counts; "" if one does.
    """

    rails_j: dict[str, float]
    mean_w: dict[str, float]
    rail: str | None
    reason: str

    @property
    def per_inference_j(self) -> float | None:
        """Joules a sample of the rail that counts."""
        return None if self.rail is None else self.rails_j[self.rail]


@dataclass(frozen=True)
class BoardBench:
    """Everything that was found out.

    Attributes:
        model: name of the overlay.
        model_id: SHA-256 of the model, in hexadecimal.
        device: `emulated:<board>` or `board:<name>`.
        board: that the overlay is for.
        emulated: whether no hardware ran.
        batch: samples of a batch.
        design_mhz: clock that the board makes of the request, in MHz.
        read_back_mhz: clock as the board's registers have it; None on an emulated one.
        governor: of the processor's frequency; None where Linux does not say.
        quality: None without a test set.
        cycles: None where nothing counts them.
        one: wall time of single samples; None on an emulated board.
        many: wall time of batches; likewise.
        energy: of the batches; likewise.
        made_as: how the Verilog was made that an emulated board computed with; None if it was none.
        simulated_per_s: samples a second of that simulation on this computer, in batches; no speed of hardware.
    """

    model: str
    model_id: str
    device: str
    board: str
    emulated: bool
    batch: int
    design_mhz: float
    read_back_mhz: float | None
    governor: str | None
    quality: Quality | None
    cycles: Cycles | None
    one: Wall | None
    many: Wall | None
    energy: Energy | None
    made_as: str | None = None
    simulated_per_s: float | None = None
