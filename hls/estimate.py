# SPDX-License-Identifier: Apache-2.0
"""What a design will cost, from the design alone: cycles, resources, limits of the tools, boards it fits on.

The formulas are in `hls4attn.hls.stream.cycles` and `hls4attn.hls.stream.resources`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from hls4attn.hls.config import HlsConfig
from hls4attn.hls.design import Design, HwNode
from hls4attn.hls.stream.cycles import parallel_cycles, processes, rows_of, schedule
from hls4attn.hls.stream.kernels import parallel_resources, stream_resources
from hls4attn.hls.stream.resources import Memory, Resources, total
from hls4attn.hls.stream.units import COMPLETE_PARTITION
from hls4attn.models.errors import UnsupportedError

#: Iterations that the vendor tools unroll at most (XFORM 203-504).
MAX_UNROLL = 4096
#: Bits of a stream word.
MAX_WORD = 4096
#: Bits of a reshaped memory word (XFORM 203-133).
MAX_RESHAPED = 65536
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
class KernelEstimate:
    """One kernel.

    Attributes:
        name: the node.
        kernel: its C++ function.
        rows: rows that it takes a sequence.
        processes: its processes (one, unless it is a region) with the cycles that each is busy a sequence.
        resources: what it is built from, with the FIFOs behind it.
        first: io_stream: when its first output row can be read, in cycles after the first input row.
        last: when its last one can.
    """

    name: str
    kernel: str
    rows: int
    processes: tuple[tuple[str, int], ...]
    resources: Resources
    first: int
    last: int

    @property
    def interval(self) -> int:
        """Cycles between two sequences."""
        return max(cycles for _, cycles in self.processes)

    @property
    def cycles(self) -> int:
        """Cycles a sequence, of all its processes."""
        return sum(cycles for _, cycles in self.processes)


@dataclass(frozen=True)
class Limit:
    """Something that the vendor tools refuse.

    Attributes:
        node: which kernel.
        what: what is too large.
        number: how large it is.
        most: how large it may be.
        remedy: what to do.
    """

    node: str
    what: str
    number: int
    most: int
    remedy: str

    def __str__(self) -> str:
        return f"{self.node}: {self.what}: {self.number}, at most {self.most}; {self.remedy}"


@dataclass(frozen=True)
class Estimate:
    """A design before synthesis.

    Attributes:
        name: of the model.
        io_type: io_parallel or io_stream.
        kernels: every kernel.
        port: the FIFO of the input port (io_stream).
        latency: cycles from the first input row to the last output row, in an empty design.
        interval: cycles between two sequences.
        bottleneck: kernel that sets the interval.
        limits: what the vendor tools would refuse.
    """

    name: str
    io_type: str
    kernels: tuple[KernelEstimate, ...]
    port: Resources
    latency: int
    interval: int
    bottleneck: str
    limits: tuple[Limit, ...]

    @property
    def resources(self) -> Resources:
        """All kernels together."""
        return total([self.port, *(k.resources for k in self.kernels)])


def estimate(design: Design, config: HlsConfig) -> Estimate:
    """Cycles and resources of a design.

    Args:
        design: an io_parallel or io_stream design.
        config: its choices; of an io_parallel design the reuse factors.
    """
    return _stream(design) if design.io_type == "io_stream" else _parallel(design, config)


def _parallel(design: Design, config: HlsConfig) -> Estimate:
    kernels: list[KernelEstimate] = []
    limits: list[Limit] = []
    time = 0
    for node in design.nodes:
        reuse = config.layer_reuse_factor.get(node.name, config.reuse_factor)
        cycles = parallel_cycles(node, reuse)
        resources = parallel_resources(node, reuse)
        rows = node.ints["rows"] if "rows" in node.ints else node.size // (node.shape[-1] if node.shape else 1)
        parts = ((node.kernel.function, cycles),)
        kernels.append(KernelEstimate(node.name, node.kernel.function, rows, parts, resources, time, time + cycles))
        limits += _parallel_limits(node)
        limits += _word_limits(node.name, resources, "raise its reuse factor")
        time += cycles
    slowest = max(kernels, key=lambda k: k.interval).name
    port = Resources(logic_ff=design.input.format.width * _size(design.input.shape))
    return Estimate(design.name, "io_parallel", tuple(kernels), port, time, time, slowest, tuple(limits))


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for n in shape:
        size *= n
    return size


def _stream(design: Design) -> Estimate:
    plan = schedule(design)
    kernels: list[KernelEstimate] = []
    limits: list[Limit] = []
    for node, times in zip(design.nodes, plan.nodes, strict=True):
        fifos = [_fifo(design, name, node.format.width) for name in node.outputs]
        resources = total([stream_resources(node), Resources(memories=tuple(fifos))])
        kernels.append(
            KernelEstimate(
                node.name,
                node.kernel.function,
                rows_of(node),
                tuple(processes(node)),
                resources,
                times.first,
                times.last,
            )
        )
        limits += _stream_limits(node)
        limits += _word_limits(node.name, resources, "raise the reuse factor, or use fewer lanes")
    port = Resources(memories=(_fifo(design, design.input.name, design.input.format.width),))
    return Estimate(
        design.name, "io_stream", tuple(kernels), port, plan.latency, plan.interval, plan.bottleneck, tuple(limits)
    )


def _fifo(design: Design, name: str, width: int) -> Memory:
    stream = design.streams[name]
    return Memory(name, "fifo", 1, stream.depth, stream.channels * width)


# ---- limits of the vendor tools --------------------------------------------------------------------------------------


def _parallel_limits(node: HwNode) -> Iterator[Limit]:
    """Products are unrolled whatever the reuse factor; a right operand lies in registers."""
    ints = node.ints
    products = ints["n_in"] * ints["n_out"] if node.op == "AttnDense" else ints.get("inner", 0) * ints.get("cols", 0)
    if products > MAX_UNROLL:
        yield Limit(node.name, "products unrolled a row", products, MAX_UNROLL, "use --io io_stream")
    if "cols" in ints and "inner" in ints and not ints.get("slice_length") and products > COMPLETE_PARTITION:
        yield Limit(node.name, "elements of an array in registers", products, COMPLETE_PARTITION, "use --io io_stream")


def _stream_limits(node: HwNode) -> Iterator[Limit]:
    ints = node.ints
    if node.op == "AttnDense" and (products := ints["in_block"] * ints["out_block"]) > MAX_UNROLL:
        yield Limit(node.name, "products unrolled in an iteration", products, MAX_UNROLL, "raise the reuse factor")
    channels = max(ints.get(name, 0) for name in ("channels", "n_in", "n_out"))
    if channels > COMPLETE_PARTITION:
        yield Limit(
            node.name, "elements of a row in registers", channels, COMPLETE_PARTITION, "use a model with narrower rows"
        )
    if node.op == "AttnPermute" and node.size > COMPLETE_PARTITION:
        yield Limit(
            node.name,
            "elements of an array in registers",
            node.size,
            COMPLETE_PARTITION,
            "avoid the transpose of a tensor of this size",
        )


def _word_limits(node: str, resources: Resources, remedy: str) -> Iterator[Limit]:
    for memory in resources.memories:
        most = MAX_WORD if memory.kind == "fifo" else MAX_RESHAPED
        if memory.width > most:
            yield Limit(node, f"bits of a word of {memory.what}", memory.width, most, remedy)


# ---- boards ----------------------------------------------------------------------------------------------------------


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
    raise UnsupportedError(f"No reuse factor makes the design fit {capacity.name}: {_largest(smallest, capacity)}")


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


def to_dict(found: Estimate) -> dict[str, Any]:
    """Plain values for a JSON file."""
    return {
        "model": found.name,
        "io_type": found.io_type,
        "latency_cycles": found.latency,
        "interval_cycles": found.interval,
        "bottleneck": found.bottleneck,
        "kernels": [
            {
                "name": k.name,
                "kernel": k.kernel,
                "rows": k.rows,
                "cycles": k.cycles,
                "interval": k.interval,
                "first": k.first,
                "last": k.last,
                "processes": dict(k.processes),
                **resources_dict(k.resources),
            }
            for k in found.kernels
        ],
        "total": resources_dict(found.resources),
        "limits": [asdict(limit) for limit in found.limits],
    }


def resources_dict(resources: Resources) -> dict[str, Any]:
    """Plain values of one kernel's or design's resources."""
    return {
        "multipliers": [{"a": a, "b": b, "count": n} for (a, b), n in resources.multipliers],
        "multiplier_count": resources.multiplier_count,
        "narrow_multipliers": resources.narrow_count,
        "narrow_multipliers_lut": resources.narrow_lut,
        "dsp48e1": resources.dsp("zynq"),
        "dsp48e2": resources.dsp("zynquplus"),
        "rom_bits": resources.bits("rom"),
        "ram_bits": resources.bits("ram"),
        "fifo_bits": resources.bits("fifo"),
        "bram36": resources.bram36,
        "lut_estimate": resources.lut,
        "ff_estimate": resources.ff,
        "memories": [asdict(m) | {"bram18": m.bram18, "lut": m.lut} for m in resources.memories],
    }
