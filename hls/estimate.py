# SPDX-License-Identifier: Apache-2.0
"""What a design will cost, from the design alone: cycles, resources, limits of the tools.

The formulas are in `hls4attn.hls.stream.cycles` and `hls4attn.hls.stream.resources`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from hls4attn.hls.config import HlsConfig
from hls4attn.hls.design import Design, HwNode
from hls4attn.hls.limits import COMPLETE_PARTITION, MAX_RESHAPED, MAX_UNROLL, MAX_WORD, ROM_PORTS
from hls4attn.hls.stream.arrays import register_arrays, table_reads, unrolled
from hls4attn.hls.stream.cycles import is_attention, parallel_cycles, processes, rows_of, schedule
from hls4attn.hls.stream.kernels import parallel_resources, stream_resources
from hls4attn.hls.stream.resources import Memory, Resources, total


@dataclass(frozen=True)
class KernelEstimate:
    """One kernel.

    Attributes:
        name: the node.
        kernel: its C++ function.
        rows: rows that it takes a sequence.
        processes: its processes (one, unless it is a region) with the cycles that each is busy a sequence.
        interval: cycles between two sequences.
        resources: what it is built from, with the FIFOs behind it.
        first: io_stream: when its first output row can be read, in cycles after the first input row.
        last: when its last one can.
    """

    name: str
    kernel: str
    rows: int
    processes: tuple[tuple[str, int], ...]
    interval: int
    resources: Resources
    first: int
    last: int

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
        interval: cycles between two sequences, on average over two.
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
        config: its choices: the reuse factors of an io_parallel design, the backend of an io_stream one.
    """
    return _stream(design, config) if design.io_type == "io_stream" else _parallel(design, config)


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
        kernels.append(
            KernelEstimate(node.name, node.kernel.function, rows, parts, cycles, resources, time, time + cycles)
        )
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


def _stream(design: Design, config: HlsConfig) -> Estimate:
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
                times.interval,
                resources,
                times.first,
                times.last,
            )
        )
        limits += stream_limits(node, resources, config.backend)
    port = Resources(memories=(_fifo(design, design.input.name, design.input.format.width),))
    return Estimate(
        design.name, "io_stream", tuple(kernels), port, plan.latency, plan.interval, plan.bottleneck, tuple(limits)
    )


def _fifo(design: Design, name: str, width: int) -> Memory:
    stream = design.streams[name]
    return Memory(name, "fifo", 1, stream.depth, stream.channels * width)


# ---- limits of the vendor tools --------------------------------------------------------------------------------------

_NARROWER_MODEL = "use a model with narrower rows"


def _parallel_limits(node: HwNode) -> Iterator[Limit]:
    """Products are unrolled whatever the reuse factor; a right operand lies in registers."""
    ints = node.ints
    products = ints["n_in"] * ints["n_out"] if node.op == "AttnDense" else ints.get("inner", 0) * ints.get("cols", 0)
    if products > MAX_UNROLL:
        yield Limit(node.name, "products unrolled a row", products, MAX_UNROLL, "use --io io_stream")
    if "cols" in ints and "inner" in ints and not ints.get("slice_length") and products > COMPLETE_PARTITION:
        yield Limit(node.name, "elements of an array in registers", products, COMPLETE_PARTITION, "use --io io_stream")


def stream_limits(node: HwNode, resources: Resources, backend: str) -> list[Limit]:
    """What the vendor tools would refuse of a streaming kernel.

    Args:
        node: the kernel.
        resources: what it is built from, with the FIFOs behind it.
        backend: Vitis or Vivado.
    """
    found = []
    fewer = "raise the reuse factor" + (", or use fewer lanes or parallel heads" if is_attention(node) else "")
    if (products := unrolled(node)) > MAX_UNROLL:
        found.append(Limit(node.name, "products unrolled in an iteration", products, MAX_UNROLL, fewer))
    what, size = max(register_arrays(node).items(), key=lambda item: item[1])
    if size > COMPLETE_PARTITION:
        remedy = f"use fewer lanes or parallel heads; else {_NARROWER_MODEL}" if is_attention(node) else _NARROWER_MODEL
        found.append(Limit(node.name, f"elements of {what} in registers", size, COMPLETE_PARTITION, remedy))
    if backend == "Vivado" and (reads := table_reads(node)) > ROM_PORTS:
        remedy = f"use lanes * parallel heads of {ROM_PORTS} or less, or the backend Vitis"
        found.append(Limit(node.name, "table look-ups a cycle with Vivado HLS", reads, ROM_PORTS, remedy))
    return [*found, *_word_limits(node.name, resources, fewer)]


def _word_limits(node: str, resources: Resources, remedy: str) -> Iterator[Limit]:
    for memory in resources.memories:
        most = MAX_WORD if memory.kind == "fifo" else MAX_RESHAPED
        if memory.width > most:
            yield Limit(node, f"bits of a word of {memory.what}", memory.width, most, remedy)


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
