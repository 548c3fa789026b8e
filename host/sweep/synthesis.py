# SPDX-License-Identifier: Apache-2.0
"""Synthesis of a point's Verilog, where there is RTL and the tool: figures beside those that are only estimated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hls4attn.host.flow import Flow
from hls4attn.host.sweep.locks import one_at_a_time
from hls4attn.models.errors import InputError, ToolError, UnsupportedError
from hls4attn.overlays.boards import board as find_board

FIGURES = ("synth_dsp", "synth_bram36", "synth_lut", "synth_ff", "synth_mhz")
TOOLS = ("yosys", "vivado")


def synthesis(flow: Flow, settings: Mapping[str, Any], why: dict[str, str]) -> dict[str, Any]:
    """Figures of the model's Verilog.

    Args:
        flow: the model; its RTL takes one key at a time, and with reuse_factor "fit" is the fastest that fits.
        settings: of the point; ``synthesise`` is "yosys", "vivado" or None.
        why: receives the reason if there are no figures.

    Returns:
        `FIGURES`, ``synth_tool`` and ``synth_design``; all None where there is no RTL of the model, or no tool.

    Raises:
        ToolError: if the tool is there and fails.
    """
    tool = settings.get("synthesise")
    nothing: dict[str, Any] = dict.fromkeys((*FIGURES, "synth_tool", "synth_design"))
    if tool is None:
        return nothing
    if tool not in TOOLS:
        raise InputError(f"synthesise must be one of {', '.join(TOOLS)}. Received: {tool!r}")
    missing = _missing_tool(tool)
    if missing is None and flow.settings.io_type != "io_stream":
        missing = "there is RTL of io_stream designs only"
    if missing is not None:
        why["synthesis"] = missing
        return nothing
    given = [name for name in ("reuse_factor", "lanes", "parallel_heads") if settings[name] not in ("fit", 0, 1)]
    made = flow.for_rtl(given)
    try:
        choice = made.rtl_choice
    except UnsupportedError as error:
        why["synthesis"] = str(error)
        return nothing
    from hls4attn.hls.rtl.net.network import network_unit

    unit = network_unit(choice.design, made.graph, choice.budget.chosen)
    shared = (tool, flow.board, settings["clock_period_ns"], unit.texts, sorted(choice.budget.chosen))
    with one_at_a_time(f"synthesise {shared}"):  # points that share the design wait for one synthesis
        if tool == "yosys":
            figures = _yosys(unit)
            why["synth_mhz"] = "Yosys does no timing"
        else:
            figures = _vivado(unit, find_board(flow.board).part, settings["clock_period_ns"])
    return figures | {"synth_design": choice.words}


def _missing_tool(tool: str) -> str | None:
    """Why a tool cannot be used; None if it can."""
    from hls4attn.hls.rtl.synth import find_yosys
    from hls4attn.host.bench.vivado import find_vivado

    if tool == "vivado":
        return None if find_vivado() else "Vivado is not on PATH of the worker"
    try:
        find_yosys()
    except ToolError as error:
        return str(error)
    return None


def _yosys(unit: Any) -> dict[str, Any]:
    from hls4attn.hls.rtl.synth import resources

    found = resources(unit)
    tool = f"{found.tool}, for 7-series parts"
    return _figures(found.dsp, found.bram18, found.lut + found.lutram, found.ff, tool) | {"synth_mhz": None}


def _vivado(unit: Any, part: str, period_ns: float) -> dict[str, Any]:
    from hls4attn.host.bench.vivado import find_vivado, implement

    vivado = find_vivado()
    if vivado is None:
        raise ToolError("Vivado went away from PATH during the evaluation")
    found = implement(unit, vivado, part, period_ns)
    return _figures(found.dsp, found.bram18, found.lut, found.ff, f"Vivado {found.release}") | {"synth_mhz": found.mhz}


def _figures(dsp: int, bram18: int, lut: int, ff: int, tool: str) -> dict[str, Any]:
    return {"synth_dsp": dsp, "synth_bram36": bram18 / 2, "synth_lut": lut, "synth_ff": ff, "synth_tool": tool}
