# SPDX-License-Identifier: Apache-2.0
"""Hardware nodes: what one C++ kernel computes, with every parameter it is compiled with.

Each node names the tensor of the typed graph whose codes it produces, so that any simulation or board can be
compared with the reference tensor by tensor.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from hls4attn.models.export.graph import Tensor
from hls4attn.models.formats import Codes, Fixed


@dataclass(frozen=True)
class Kernel:
    """A C++ kernel: where it is and what it takes.

    Attributes:
        function: its name in namespace hls4attn.
        header: the file that defines it.
        base: the configuration struct to derive from.
        operands: number of computed inputs.
        roms: names of its tables, in the order of its arguments; `scale` and `offset` follow for all.
        stream_header: the file that defines its streaming form, an overload of the same name; empty if it has none.
        region: whether the streaming form is a region of several processes.
        folder: of the header, for a kernel of another package.
    """

    function: str
    header: str
    base: str
    operands: int = 1
    roms: tuple[str, ...] = ()
    stream_header: str = ""
    region: bool = False
    folder: Path | None = None


#: Log2Exp's factor and shift of each head, and the mantissas of the divider.
_E2_ROMS = ("factor", "places", "divider")

#: What the fused attention kernels take after the tables of their score function.
_SCORE_TAIL = ("score_scale", "score_offset")


def _attention(score: str, header: str, roms: tuple[str, ...]) -> Kernel:
    name = f"attn_attention_{header}.h"
    return Kernel(f"attention_{score}", name, f"attention_{score}_config", 3, (*roms, *_SCORE_TAIL), name, True)


#: Hardware operators by name, as they appear in a lowered file.
KERNELS = {
    "AttnDense": Kernel("dense", "attn_dense.h", "dense_config", 1, ("weights",), "attn_dense_stream.h"),
    "AttnMatMul": Kernel("matmul", "attn_matmul.h", "matmul_config", 2),
    "AttnConSmax": Kernel("consmax", "attn_consmax.h", "consmax_config", 1, ("table",)),
    "AttnConSmaxSplit": Kernel(
        "consmax_split",
        "attn_consmax_split.h",
        "consmax_split_config",
        1,
        ("mantissa", "shift", "head_shift"),
    ),
    "AttnSoftmax": Kernel("softmax", "attn_softmax.h", "softmax_config", 1, ("table",)),
    "AttnE2Softmax": Kernel("e2softmax", "attn_e2softmax.h", "e2softmax_config", 1, _E2_ROMS),
    "AttnE2SoftmaxOnline": Kernel("e2softmax_online", "attn_e2softmax.h", "e2softmax_config", 1, _E2_ROMS),
    "AttnE2Context": Kernel("e2context", "attn_e2context.h", "e2context_config", 2, _E2_ROMS),
    "AttnE2ContextOnline": Kernel("e2context_online", "attn_e2context.h", "e2context_config", 2, _E2_ROMS),
    "AttnAttentionConSmax": _attention("consmax", "consmax", ("table",)),
    "AttnAttentionConSmaxSplit": _attention("consmax_split", "consmax", ("mantissa", "shift", "head_shift")),
    "AttnAttentionSoftmax": _attention("softmax", "softmax", ("table",)),
    "AttnAttentionE2Softmax": _attention("e2softmax", "e2softmax", _E2_ROMS),
    "AttnAttentionE2Context": _attention("e2context", "e2softmax", _E2_ROMS),
    "AttnGainCell": Kernel(
        "gaincell", "attn_gaincell.h", "gaincell_config", 3, ("currents",), "attn_gaincell_stream.h"
    ),
    "AttnAILayerNorm": Kernel(
        "ailayernorm",
        "attn_ailayernorm.h",
        "ailayernorm_config",
        1,
        ("alpha", "squares_rom", "rsqrt", "gamma", "bias"),
        "attn_ailayernorm_stream.h",
        True,
    ),
    "AttnIntegerLayerNorm": Kernel(
        "layernorm", "attn_layernorm.h", "layernorm_config", 1, ("gamma", "bias"), "attn_layernorm_stream.h", True
    ),
    "AttnAffine": Kernel(
        "affine", "attn_elementwise.h", "elementwise_config", 1, stream_header="attn_elementwise_stream.h"
    ),
    "AttnAdd": Kernel("add", "attn_elementwise.h", "elementwise_config", 2, stream_header="attn_elementwise_stream.h"),
    "AttnMultiply": Kernel(
        "multiply_elements", "attn_elementwise.h", "elementwise_config", 2, stream_header="attn_elementwise_stream.h"
    ),
    "AttnPermute": Kernel(
        "permute", "attn_permute.h", "permute_config", 1, stream_header="attn_permute_stream.h", region=True
    ),
    "AttnReduceSum": Kernel("reduce_sum", "attn_reduce.h", "reduce_config", 1, stream_header="attn_reduce_stream.h"),
    "AttnFork": Kernel("fork", "", "fork_config", 1, stream_header="attn_fork_stream.h"),
}

#: Hardware operator, configuration members and tables of an operator spec.
Parameters = tuple[str, dict[str, int], dict[str, Codes]]


def further_folders() -> tuple[Path, ...]:
    """Folders of the headers that other packages brought."""
    return tuple(dict.fromkeys(k.folder for k in KERNELS.values() if k.folder is not None))


#: ROMs of the tail that every kernel ends with.
TAIL_ROMS = ("scale", "offset")


def port_name(tensor: str) -> str:
    """A C identifier for the input port."""
    name = re.sub(r"\W", "_", tensor, flags=re.ASCII)
    return f"{name if name[:1].isalpha() else 'x' + name}_in"


@dataclass(frozen=True)
class Stream:
    """A tensor on its way between two kernels: one word a row.

    Attributes:
        rows: words a sequence.
        channels: values a word.
        tokens: whether there is one row for each token of the sequence, which may be shorter than `rows`.
        depth: words that its FIFO holds.
    """

    rows: int
    channels: int
    tokens: bool = False
    depth: int = 2

    def to_list(self) -> list[int]:
        """Plain values; the inverse of `from_list`."""
        return [self.rows, self.channels, int(self.tokens), self.depth]

    @classmethod
    def from_list(cls, values: list[int]) -> Stream:
        """The stream of plain values.

        Raises:
            ValueError: if they describe none.
        """
        rows, channels, tokens, depth = values
        if any(isinstance(v, bool) or not isinstance(v, int) or v < 1 for v in (rows, channels, depth)):
            raise ValueError(f"no stream: {values}")
        return cls(rows, channels, bool(tokens), depth)


@dataclass(frozen=True, eq=False)
class HwNode:
    """One kernel call.

    Attributes:
        op: one of `KERNELS`.
        name: unique, a C identifier; used in configurations and reports.
        inputs: names of the tensors it reads: the design's input or other nodes' outputs.
        in_formats: their formats.
        output: name of the typed graph's tensor it produces.
        shape: shape of that tensor.
        format: its C++ type: the typed format; rounding and overflow are those of the last quantiser, or floor
            and wrap where the value is exact and neither can happen.
        aliases: tensors with the same codes in another shape (reshapes), with those shapes.
        sources: names of the ONNX nodes that it realises.
        ints: integer members of its configuration struct.
        roms: its constant tables, flat; absent ones are left out.
        copies: of a fork: names of its output streams, the first of which is `output`.
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    in_formats: tuple[Fixed, ...]
    output: str
    shape: tuple[int, ...]
    format: Fixed
    sources: tuple[str, ...]
    ints: dict[str, int]
    roms: dict[str, Codes]
    aliases: tuple[tuple[str, tuple[int, ...]], ...] = ()
    copies: tuple[str, ...] = ()

    @property
    def kernel(self) -> Kernel:
        """The C++ kernel that computes it."""
        return KERNELS[self.op]

    @property
    def size(self) -> int:
        """Number of results."""
        return prod(self.shape)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Everything that it produces; several streams with the same codes for a fork."""
        return self.copies or (self.output,)

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Name and shape of every typed tensor that holds its codes; none for what only moves the codes of others."""
        if not self.moves:
            yield self.output, self.shape
        yield from self.aliases

    @property
    def moves(self) -> bool:
        """Whether a streaming design put it in: its codes have a name already."""
        return not self.sources

    def to_dict(self) -> dict[str, Any]:
        """What a report or a simulation needs to know, as plain values (without the tables)."""
        return {
            "op": self.op,
            "name": self.name,
            "inputs": list(self.inputs),
            "output": self.output,
            "shape": list(self.shape),
            "format": str(self.format),
            "aliases": [[name, list(shape)] for name, shape in self.aliases],
            "sources": list(self.sources),
            "copies": list(self.copies),
        }


@dataclass(frozen=True, eq=False)
class Design:
    """Kernel calls in execution order, with one input port and one output port.

    Attributes:
        name: name of the model.
        input: the input port: codes enter in this format.
        output: name of the typed tensor that leaves.
        nodes: the kernel calls.
        io_type: how values travel between them: "io_parallel" (arrays) or "io_stream" (one row after the other).
        streams: of an io_stream design: every stream by the name of its tensor, or of the copy that a fork makes.
    """

    name: str
    input: Tensor
    output: str
    nodes: tuple[HwNode, ...]
    io_type: str = "io_parallel"
    streams: Mapping[str, Stream] = field(default_factory=dict)

    @property
    def last(self) -> HwNode:
        """The node that produces the output."""
        return next(n for n in self.nodes if self.output in dict(n.tensors()))

    @property
    def output_tensor(self) -> Tensor:
        """Name, shape and format of what leaves."""
        node = self.last
        return Tensor(self.output, dict(node.tensors())[self.output], node.format)

    @property
    def result(self) -> str:
        """What leaves, by the name it has in the nodes: among streams the one that no node reads."""
        if not self.streams:
            return self.last.output
        read = {name for node in self.nodes for name in node.inputs}
        return next(name for node in reversed(self.nodes) for name in node.outputs if name not in read)

    @property
    def input_stream(self) -> Stream:
        """Rows of the input port."""
        return self.streams[self.input.name]

    @property
    def output_stream(self) -> Stream:
        """Rows of the output port."""
        return self.streams[self.result]

    @property
    def seq_len(self) -> int:
        """Most tokens of a sequence; 0 if no stream has a row for each token."""
        return max((s.rows for s in self.streams.values() if s.tokens), default=0)

    @property
    def any_length(self) -> bool:
        """Whether a sequence may have fewer tokens than `seq_len`: not if a permute waits for all of them."""
        readers = (n for n in self.nodes if n.op == "AttnPermute")
        return self.seq_len > 0 and not any(self.streams[n.inputs[0]].tokens for n in readers)
