# SPDX-License-Identifier: Apache-2.0
"""Simulation of a whole model in RTL, clock by clock, from words of its input stream to words of its output stream."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hls4attn.hls.csim import checked_codes, checked_lengths
from hls4attn.hls.design import Design
from hls4attn.hls.rtl.net.network import network_unit
from hls4attn.hls.rtl.net.words import check_lengths, from_words, sample_words, shorter, to_words
from hls4attn.hls.rtl.sim import RtlSim
from hls4attn.hls.stream.ports import port_rows
from hls4attn.models.errors import InputError
from hls4attn.models.export.graph import Graph
from hls4attn.models.formats import Codes


@dataclass(frozen=True, eq=False)
class NetworkRun:
    """What came out.

    Attributes:
        outputs: codes, shape ``(samples, *output.shape)``; zero behind the end of a shorter sequence.
        cycles: clocks from the first word offered to the last one taken.
        latency: clocks of the first sample, from its first word in to its last word out, both included.
        interval: clocks between two samples at the end of the run, on average over its second half; 0 for one sample.
        starts: clock of the first word of each sample that went in.
        ends: clock after the last word of each answer came out.
    """

    outputs: Codes
    cycles: int
    latency: int
    interval: float
    starts: Codes
    ends: Codes


class NetworkSim:
    """A model in RTL, translated by Verilator and compiled.

    Args:
        design: its io_stream design.
        graph: the typed graph that it was lowered from.
        dsp: nodes whose products may take DSP blocks; all if not given.
        netlist: simulate what Yosys makes of it instead, gate by gate.
        sources: text of sources, by file name, in place of their own.

    Raises:
        InputError: for a design that does not stream.
        UnsupportedError: for a node without RTL.
        ToolError: if Verilator, a compiler or Yosys is missing or fails.
    """

    def __init__(
        self,
        design: Design,
        graph: Graph,
        dsp: Collection[str] | None = None,
        netlist: bool = False,
        sources: Mapping[str, str] | None = None,
    ) -> None:
        self.design = design
        self.unit = network_unit(design, graph, dsp)
        self._in, self._out = port_rows(design)
        self._sim = RtlSim(self.unit, sources, netlist)

    def run(
        self,
        codes: ArrayLike,
        lengths: ArrayLike | None = None,
        stalls: tuple[int, int] = (0, 0),
        seed: int = 0,
        packet: bool = True,
        patience: int = 100_000,
    ) -> NetworkRun:
        """Send samples one behind the other through a network that was just reset.

        Args:
            codes: input codes, ``(samples, *input.shape)``; of a shorter sequence the first tokens count.
            lengths: tokens of each sample, or of all; every one if not given.
            stalls: per cent of clocks without ``s_tvalid``, and without ``m_tready``; below 100. With any, the
                ports are also checked for paths that are not registered.
            seed: of the stalls and of registers without a reset.
            packet: whether samples share a packet, as far as none is shorter than the longest; else each has its own.
            patience: clocks without a word on either side before the network counts as stuck.

        Raises:
            InputError: for wrong shapes, dtypes or ranges, or lengths that no packet can have.
            SimulationError: if the network hangs, sends more or fewer words, or breaks a rule of the stream.
        """
        design = self.design
        x = checked_codes(design.input, codes)
        tokens = self._lengths(lengths, len(x))
        whole = tokens == design.seq_len
        rows_in = tokens if design.input_stream.tokens else np.full(len(x), self._in.rows)
        rows_out = tokens if design.output_stream.tokens else np.full(len(x), self._out.rows)
        given = sample_words(rows_out, self._out)
        run = self._sim.run(
            to_words(x, self._in),
            stalls=stalls,
            seed=seed,
            lengths=sample_words(rows_in, self._in),
            out_lengths=given,
            patience=patience,
            joined=packet & whole & (np.arange(len(x)) < len(x) - 1),
        )
        words = np.zeros((len(x), self._out.words), dtype=np.int64)
        words[:, : run.outputs.shape[1]] = run.outputs
        found = from_words(words, self._out, design.output_tensor.format)
        half = (len(x) - 1) // 2
        return NetworkRun(
            found.reshape(len(x), *design.output_tensor.shape),
            run.cycles,
            int(run.ends[0] - run.starts[0]),
            float(run.ends[-1] - run.ends[half]) / (len(x) - 1 - half) if len(x) > 1 else 0.0,
            run.starts,
            run.ends,
        )

    def _lengths(self, lengths: ArrayLike | None, samples: int) -> Codes:
        """Tokens of each sample."""
        design = self.design
        found = checked_lengths(lengths, samples, design.seq_len)
        if found is None:
            return np.full(samples, design.seq_len, dtype=np.int64)
        tokens = found.astype(np.int64)
        if (tokens != design.seq_len).any() and not shorter(design):
            raise InputError(
                f"{design.name}: lengths: only the end of a packet can end a sequence early, and the rows of this "
                f"model's input are not its {design.seq_len} tokens; leave them out"
            )
        if shorter(design):
            check_lengths(tokens, self._in, f"{design.name}: lengths")
        return tokens
