# SPDX-License-Identifier: Apache-2.0
"""How a model's Verilog is made for a board: one choice, which build, verify, run, bench and emulated boards share."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hls4attn.hls.config import HlsConfig
from hls4attn.hls.design import Design
from hls4attn.hls.fit import AROUND_LUT
from hls4attn.hls.hwfile import lower_design
from hls4attn.hls.rtl.net.budget import Budget, budget, fastest
from hls4attn.hls.rtl.net.cycles import network_cycles
from hls4attn.host.estimate import capacity
from hls4attn.models.errors import UnsupportedError
from hls4attn.models.export.graph import Graph
from hls4attn.overlays.boards import board as find_board


@dataclass(frozen=True, eq=False)
class RtlChoice:
    """A configuration and what is known of its Verilog.

    Attributes:
        config: the conversion options.
        design: what they make.
        budget: its DSP blocks and LUTs; `budget.chosen` are the nodes whose products are DSP blocks.
        latency: clocks from the first word of a sample to the last of its answer, by the cycle model of the RTL.
        words: how it is made, and who chose it.
    """

    config: HlsConfig
    design: Design
    budget: Budget
    latency: int
    words: str

    @property
    def notes(self) -> tuple[str, ...]:
        """What to tell the user."""
        size = self.budget
        return (
            f"Verilog, io_stream, {self.words}",
            f"{self.latency:,} clocks from the first word of a sample to the last of its answer, by the model of the "
            "RTL",
            f"{size.dsp} DSP blocks, roughly {size.lut:,} LUT, {size.bram18} BRAM18: counted, not synthesised; "
            f"{AROUND_LUT:,} LUT are assumed around",
        )


def rtl_choice(graph: Graph, config: HlsConfig, board: str, free: bool) -> RtlChoice:
    """The design of a model's Verilog.

    Args:
        graph: the typed graph of the model.
        config: conversion options, io_stream.
        board: name of the board that it is for.
        free: whether heads at a time and clocks a row are chosen here: the fastest that fit the board.

    Raises:
        UnsupportedError: for a design that does not stream, a node without RTL, or if nothing fits.
    """
    if config.io_type != "io_stream":
        raise UnsupportedError(
            f"There is RTL of streaming designs only. Received: {config.io_type}; use --io io_stream, or "
            "HlsConfig(io_type='io_stream')"
        )
    room = capacity(find_board(board))
    if free:
        attention = any(node.spec or node.context for node in graph.nodes)

        def plain(chosen: HlsConfig) -> HlsConfig:
            return chosen if attention else replace(chosen, lanes=0, parallel_heads=1)  # which would have no effect

        found = fastest(lambda chosen: lower_design(graph, plain(chosen)), graph, config, room)
        paces = sorted(set(found.config.layer_reuse_factor.values()))
        each = f", {' to '.join({str(paces[0]): 0, str(paces[-1]): 0})} clocks a row in dense layers" if paces else ""
        words = f"{_heads(found.config)}{each}: the fastest that fits {board} by count"
        return RtlChoice(plain(found.config), found.design, found.budget, found.clocks.latency, words)
    design = lower_design(graph, config)
    size = budget(design, graph, room.dsp or 0)
    words = f"{_heads(config)}, reuse factor {config.reuse_factor}"
    return RtlChoice(config, design, size, network_cycles(design, graph, dsp=size.chosen).latency, words)


def _heads(config: HlsConfig) -> str:
    return f"{config.parallel_heads} head{'s' * (config.parallel_heads > 1)} at a time"
