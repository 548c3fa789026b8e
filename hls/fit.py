# SPDX-License-Identifier: Apache-2.0
"""Whether a design fits a board, and the change that makes it fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from hls4attn.hls.config import HlsConfig
from hls4attn.hls.design import Design
from hls4attn.hls.estimate import Estimate, KernelEstimate, estimate
from hls4attn.hls.stream.resources import Resources
from hls4attn.models.errors import UnsupportedError

MAX_REUSE = 65536
KINDS = ("dsp", "bram36", "lut", "ff")


@dataclass(frozen=True)
class Capacity:
    """Resources of a board; None where they are not known.

    Attributes:
        name: of the board.
        family: zynq (DSP48E1) or zynquplus (DSP48E2).
        dsp: DSP slices; likewise `bram36`, `lut` and `ff`.
    """

    name: str
    family: str
    dsp: int | None
    bram36: int | None
    lut: int | None
    ff: int | None


@dataclass(frozen=True)
class Fit:
    """A design on a board.

    Attributes:
        board: its name.
        used: what the design needs: dsp, bram36, lut, ff.
        percent: of the board, where it is known.
        fits: whether everything that is known fits.
    """

    board: str
    used: Mapping[str, float]
    percent: Mapping[str, float]
    fits: bool


def fit(resources: Resources, capacity: Capacity) -> Fit:
    """Whether resources are there on a board: 100 x used / available, rounded to a tenth."""
    used: dict[str, float] = {
        "dsp": resources.dsp(capacity.family),
        "bram36": resources.bram36,
        "lut": resources.lut,
        "ff": resources.ff,
    }
    known = {kind: have for kind in KINDS if (have := getattr(capacity, kind)) is not None}
    percent = {kind: round(100 * used[kind] / max(have, 1), 1) for kind, have in known.items()}
    return Fit(capacity.name, used, percent, all(used[kind] <= have for kind, have in known.items()))


#: Makes the design of a configuration.
Factory = Callable[[HlsConfig], Design]


def smallest_reuse(make: Factory, config: HlsConfig, capacity: Capacity) -> int | None:
    """The smallest power of two that, as reuse factor, makes a design fit that the tools do not refuse.

    Args:
        make: makes the design; its UnsupportedError ends the search, for more reuse is not to be had.
        config: the other choices.
        capacity: the board.

    Returns:
        The reuse factor, or None if none does.
    """
    reuse = 1
    while reuse <= MAX_REUSE:
        chosen = replace(config, reuse_factor=reuse)
        try:
            found = estimate(make(chosen), chosen)
        except UnsupportedError:
            if reuse == 1:
                raise
            return None
        if not found.limits and fit(found.resources, capacity).fits:
            return reuse
        reuse *= 2
    return None


def auto_reuse(make: Factory, config: HlsConfig, capacity: Capacity) -> int:
    """The reuse factor of an io_stream design whose user chose none: the smallest power of two that fits the board.

    Args:
        make: makes the io_stream design of a configuration, as `lambda c: to_stream(lower_graph(graph), c)`.
        config: the other choices; its reuse factor is ignored.
        capacity: the board.

    Raises:
        UnsupportedError: if no reuse factor makes it fit; the message names the largest consumer.
    """
    found = smallest_reuse(make, config, capacity)
    if found is not None:
        return found
    smallest = _with_most_reuse(make, config)
    raise UnsupportedError(
        f"No reuse factor makes the design fit {capacity.name}: {_largest(smallest, capacity)}; "
        "give one (reuse_factor, --reuse) to go on all the same"
    )


@dataclass(frozen=True)
class Suggestion:
    """What would make a design fit.

    Attributes:
        options: command-line options; empty if it fits as it is, or if nothing helps.
        reason: a sentence.
    """

    options: str
    reason: str


def suggest(make: Factory, config: HlsConfig, capacity: Capacity) -> Suggestion:
    """The least change that makes a design fit a board: more reuse, then io_stream instead of io_parallel.

    Args:
        make: makes the design of a configuration, io_parallel or io_stream.
        config: the choices to start from.
        capacity: the board.
    """
    now = estimate(make(config), config)
    if fit(now.resources, capacity).fits and not now.limits:
        return Suggestion("", f"fits {capacity.name} as it is")
    for io_type in dict.fromkeys((config.io_type, "io_stream")):
        changed = replace(config, io_type=io_type)
        found = _attempt(make, changed, capacity)
        if found is not None:
            options = f"--io {io_type} --reuse {found}"
            return Suggestion(options, f"{options} is the smallest power of two that fits {capacity.name}")
    smallest = _with_most_reuse(make, replace(config, io_type="io_stream"))
    return Suggestion("", f"no reuse factor makes it fit {capacity.name}: {_largest(smallest, capacity)}")


def _attempt(make: Factory, config: HlsConfig, capacity: Capacity) -> int | None:
    try:
        return smallest_reuse(make, config, capacity)
    except UnsupportedError:  # a design that has no io_stream form
        return None


def _with_most_reuse(make: Factory, config: HlsConfig) -> Estimate:
    """The design with the largest power of two that it takes."""
    found = None
    for power in range(MAX_REUSE.bit_length()):
        chosen = replace(config, reuse_factor=1 << power)
        try:
            found = estimate(make(chosen), chosen)
        except UnsupportedError:
            break
    if found is None:
        chosen = replace(config, io_type="io_parallel", reuse_factor=MAX_REUSE)
        found = estimate(make(chosen), chosen)
    return found


def _largest(found: Estimate, capacity: Capacity) -> str:
    """The scarcest resource and the kernel that takes most of it."""
    if found.limits:
        return str(found.limits[0])
    percent = fit(found.resources, capacity).percent
    kind = max(percent, key=lambda k: percent[k])

    def use(kernel: KernelEstimate) -> float:
        return fit(kernel.resources, capacity).used[kind]

    kernel = max(found.kernels, key=use)
    return f"{percent[kind]:.0f}% of {kind}, most of it ({use(kernel):g}) in {kernel.name} ({kernel.kernel})"
