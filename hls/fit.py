# SPDX-License-Identifier: Apache-2.0
"""Whether a design fits a board, and the change that makes it fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from hls4attn.hls.config import HlsConfig
from hls4attn.hls.design import Design
from hls4attn.hls.estimate import Estimate, KernelEstimate, estimate
from hls4attn.hls.stream.cycles import is_attention, is_gain_cell
from hls4attn.hls.stream.resources import Resources
from hls4attn.models.errors import UnsupportedError

MAX_REUSE = 65536
KINDS = ("dsp", "bram36", "lut", "ff")
#: Part of a device's LUTs beyond which a placer is not trusted to finish.
FILLED = 0.9
#: LUTs and halves of block RAMs that DMA, interconnects and shell take beside a kernel: assumed, since no such overlay
#: was synthesised.
AROUND_LUT, AROUND_BRAM18 = 6000, 30
#: What "fits" means, for people.
ROOM = (
    f"fits: with {AROUND_LUT:,} LUT and {AROUND_BRAM18} BRAM18 (halves of BRAM36) for DMA, interconnects and shell, "
    f"which are assumed, and {FILLED:.0%} of all LUTs in use at most."
)


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
    bram36: float | None
    lut: int | None
    ff: int | None


@dataclass(frozen=True)
class Fit:
    """A design on a board.

    Attributes:
        board: its name.
        used: what the kernels need: dsp, bram36, lut, ff.
        percent: of the whole board, where it is known.
        fits: whether everything that is known fits, with what is around the kernels.
    """

    board: str
    used: Mapping[str, float]
    percent: Mapping[str, float]
    fits: bool


def room(capacity: Capacity) -> Capacity:
    """What a board leaves for kernels: not all LUTs can be used, and DMA, interconnects and shell take some."""
    lut = None if capacity.lut is None else max(int(FILLED * capacity.lut) - AROUND_LUT, 0)
    bram36 = None if capacity.bram36 is None else max(capacity.bram36 - AROUND_BRAM18 / 2, 0)
    return replace(capacity, lut=lut, bram36=bram36)


def fit(resources: Resources, capacity: Capacity) -> Fit:
    """Whether resources are there in the `room` of a board, and 100 x used / the whole board, rounded to a tenth."""
    used: dict[str, float] = {
        "dsp": resources.dsp(capacity.family),
        "bram36": resources.bram36,
        "lut": resources.lut,
        "ff": resources.ff,
    }
    known = {kind: have for kind in KINDS if (have := getattr(capacity, kind)) is not None}
    percent = {kind: round(100 * used[kind] / max(have, 1), 1) for kind, have in known.items()}
    left = room(capacity)
    return Fit(capacity.name, used, percent, all(used[kind] <= getattr(left, kind) for kind in known))


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
    for chosen, design in _ladder(make, config):
        found = estimate(design, chosen)
        if not found.limits and fit(found.resources, capacity).fits:
            return chosen.reuse_factor
    return None


def most_reuse(make: Factory, config: HlsConfig) -> tuple[HlsConfig, Design]:
    """The choices with the largest power of two that the design takes as reuse factor, and the design."""
    *_, last = _ladder(make, config)
    return last


def _ladder(make: Factory, config: HlsConfig) -> Iterator[tuple[HlsConfig, Design]]:
    """Designs with more and more reuse.

    Raises:
        UnsupportedError: if there is no first one.
    """
    for power in range(MAX_REUSE.bit_length()):
        chosen = replace(config, reuse_factor=1 << power)
        try:
            design = make(chosen)
        except UnsupportedError:
            if power == 0:
                raise
            return
        yield chosen, design


def paced_by_cells(design: Design) -> bool:
    """Whether the attentions of an io_stream design are gain cells: one slot a cycle, whatever is asked for."""
    if design.io_type != "io_stream" or any(is_attention(n) for n in design.nodes):
        return False
    return any(is_gain_cell(n) for n in design.nodes)


def auto_reuse(make: Factory, config: HlsConfig, capacity: Capacity) -> int:
    """The reuse factor of an io_stream design whose user chose none: the smallest power of two that fits the board.

    Args:
        make: makes the io_stream design of a configuration, as `lambda c: to_stream(lower_graph(graph), c)`.
        config: the other choices; its reuse factor is ignored.
        capacity: the board.

    Raises:
        UnsupportedError: if no reuse factor makes it fit; the message names the largest consumer, or what helps.
    """
    found = smallest_reuse(make, config, capacity)
    if found is not None:
        return found
    options = _with_fewer(make, config, capacity)
    advice = f"use {options}, or" if options else "to go on all the same,"
    raise UnsupportedError(f"{_hopeless(make, config, capacity)}; {advice} give a reuse factor (reuse_factor, --reuse)")


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
    """The least change that makes a design fit a board: more reuse, io_stream, at last fewer keys or heads at a time.

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
        if options := _attempt(make, changed, capacity):
            return Suggestion(options, f"{options} is the smallest power of two that fits {capacity.name}")
    streaming = replace(config, io_type="io_stream")
    if options := _with_fewer(make, streaming, capacity):
        return Suggestion(options, f"{options} fits {capacity.name}; no reuse factor alone does")
    return Suggestion("", _hopeless(make, streaming, capacity))


def _attempt(make: Factory, config: HlsConfig, capacity: Capacity) -> str:
    """Options with the smallest reuse factor that fits; nothing if none does, or the design has no such form."""
    try:
        reuse = smallest_reuse(make, config, capacity)
        return "" if reuse is None else _options(make(replace(config, reuse_factor=reuse)), config, reuse)
    except UnsupportedError:
        return ""


def _options(design: Design, config: HlsConfig, reuse: int) -> str:
    """All options that decide how large a design is."""
    options = f"--io {config.io_type} --reuse {reuse}"
    lanes = {n.ints["lanes"] for n in design.nodes if is_attention(n)}
    if not lanes:
        return options
    chosen = lanes.pop() if len(lanes) == 1 else config.lanes
    return f"{options} --lanes {chosen} --parallel-heads {config.parallel_heads}"


def _with_fewer(make: Factory, config: HlsConfig, capacity: Capacity) -> str:
    """Options with fewer keys or heads at a time, the most products an iteration first; nothing if none fit."""
    try:
        attentions = [n.ints for n in make(replace(config, reuse_factor=1)).nodes if is_attention(n)]
    except UnsupportedError:  # a design that has no io_stream form
        return ""
    if not attentions:
        return ""
    now = max(ints["lanes"] for ints in attentions), config.parallel_heads
    halves = [now[0] >> n for n in range(now[0].bit_length())]
    tried = [(lanes, heads) for lanes in halves for heads in range(1, now[1] + 1) if now[1] % heads == 0]
    for lanes, heads in sorted(tried, key=lambda pair: (-pair[0] * pair[1], -pair[1])):
        if (lanes, heads) != now and (
            options := _attempt(make, replace(config, lanes=lanes, parallel_heads=heads), capacity)
        ):
            return options
    return ""


def _hopeless(make: Factory, config: HlsConfig, capacity: Capacity) -> str:
    """What is too large in the design with most reuse."""
    try:
        chosen, design = most_reuse(make, config)
    except UnsupportedError:  # a design that has no io_stream form
        chosen, design = most_reuse(make, replace(config, io_type="io_parallel", lanes=0, parallel_heads=1))
    why = _largest(estimate(design, chosen), capacity)
    if paced_by_cells(design):
        why += "; a reuse factor changes nothing about gain cells, which scan one slot a cycle"
    return f"no reuse factor makes it fit {capacity.name}; with {chosen.reuse_factor}: {why}"


def _largest(found: Estimate, capacity: Capacity) -> str:
    """The scarcest resource and the kernel that takes most of it."""
    if found.limits:
        return str(found.limits[0])
    left = fit(found.resources, room(capacity)).percent
    kind = max(left, key=lambda k: left[k])

    def use(kernel: KernelEstimate) -> float:
        return fit(kernel.resources, capacity).used[kind]

    kernel = max(found.kernels, key=use)
    beside = " that DMA and shell leave" if getattr(room(capacity), kind) != getattr(capacity, kind) else ""
    return f"{left[kind]:.0f}% of {kind}{beside}, most of it ({use(kernel):g}) in {kernel.name} ({kernel.kernel})"
