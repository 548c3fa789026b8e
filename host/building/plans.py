# SPDX-License-Identifier: Apache-2.0
"""What each overlay is built from: its design, its kernels' sources, and codes to try it with."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hls4attn.host.building.verilog import network_kernel, rtl_operators
from hls4attn.host.report.made import Made
from hls4attn.models.errors import InputError, UnsupportedError
from hls4attn.models.formats import Codes
from hls4attn.overlays.design import OverlayDesign
from hls4attn.overlays.scripts import HLS_FOLDER, RTL_FOLDER, Kernel

if TYPE_CHECKING:
    from hls4attn.hls.config import HlsConfig
    from hls4attn.host.flow import Flow
    from hls4attn.overlays.operators import OperatorsDesign

OVERLAYS = ("digits", "operators", "gaincell")
#: Conversion options that an overlay takes; the operators bring their own.
CHOICES: Mapping[str, frozenset[str]] = {
    "digits": frozenset(("backend", "io_type", "reuse_factor", "lanes", "parallel_heads", "clock_period_ns")),
    "operators": frozenset(),
    "gaincell": frozenset(("backend", "clock_period_ns")),
}
#: Overlays whose kernels there are in Verilog, too.
IN_RTL = ("digits", "operators")
_UNKNOWN = "what Verilog takes of the FPGA is known after the stage synthesis; nothing estimates it before"
VECTORS = 64  # samples in the archive for the board


@dataclass(frozen=True)
class Plan:
    """One overlay to build.

    Attributes:
        design: of the overlay.
        sources: writes the kernels' sources into a folder, in the order of their numbers.
        notes: what to tell the user about choices that were made for him.
        extra: makes further files for the board's archive.
        place: of the kernels' sources in the build folder.
        model: the one model that is built, and how; None of the bank of operators.
    """

    design: OverlayDesign
    sources: Callable[[Path], tuple[Kernel, ...]]
    notes: tuple[str, ...] = ()
    extra: Callable[[], Mapping[str, bytes]] = dict
    place: str = HLS_FOLDER
    model: tuple[bytes, Made] | None = None


def make_plan(
    overlay: str,
    model: Path | None,
    board: str,
    config: HlsConfig,
    fitted: bool,
    rtl: bool = False,
    given: Collection[str] = (),
) -> Plan:
    """The plan of an overlay.

    Args:
        overlay: one of `OVERLAYS`.
        model: ONNX file in place of the one that comes with the package.
        board: name of the board.
        config: conversion options.
        fitted: whether the smallest reuse factor that fits replaces that of `config`.
        rtl: whether kernels are Verilog, in place of C++ for high-level synthesis.
        given: names of the conversion options that the user gave.

    Raises:
        InputError: for an unknown overlay, or a model where none can be given.
        UnsupportedError: for a model that has no such overlay, or has something without RTL.
        ModelFileError: for a file that is no model.
    """
    if overlay == "digits":
        return _model_plan(model, board, config, fitted, rtl, given)
    if overlay == "gaincell":
        return _cells_plan(model, board, config)
    if overlay != "operators":
        raise InputError(f"Unknown overlay {overlay!r}; known: {', '.join(OVERLAYS)}, all")
    if model is not None:
        raise InputError(f"The overlay operators holds this package's own operators; leave out {model}")
    if rtl:
        bank, write, left_out = rtl_operators(board)
        return Plan(bank, write, (*left_out, _UNKNOWN), lambda: _operator_vectors(bank), RTL_FOLDER)
    from hls4attn.host.operators_overlay import operators_overlay

    design, sources = operators_overlay(board)
    return Plan(design, sources, extra=lambda: _operator_vectors(design))


def _operator_vectors(design: OperatorsDesign) -> Mapping[str, bytes]:
    """Codes for every operator of the bank, with the reference's answers."""
    from hls4attn.host.operator_models import operator_codes
    from hls4attn.host.operators_overlay import bank_cases, operator_flow
    from hls4attn.models.export.execute import Reference

    names = [operator.name for operator in design.operators]
    arrays: dict[str, Codes] = {}
    for case in (case for case in bank_cases() if case.name in names):
        graph = operator_flow(case, design.board.name).graph
        codes = operator_codes(graph, VECTORS, 0)
        arrays |= {f"{case.name}.inputs": codes, f"{case.name}.outputs": Reference(graph).run(codes)}
    return {"vectors.npz": _npz(arrays)}


def _npz(arrays: Mapping[str, Codes]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **dict(arrays))
    return buffer.getvalue()


def _model_plan(
    model: Path | None, board: str, config: HlsConfig, fitted: bool, rtl: bool, given: Collection[str]
) -> Plan:
    from hls4attn.host.flow import Flow
    from hls4attn.host.samples import verification_codes
    from hls4attn.models.export.execute import Reference

    source = model or _zoo("digits_vit", "consmax.onnx")
    flow = Flow.open(source, board=board, config=config, fitted=fitted)
    flow = flow.for_rtl(given) if rtl else flow
    flow = replace(flow, name="digits") if model is None else flow
    settings = flow.settings
    design = flow.design

    def sources(folder: Path) -> tuple[Kernel, ...]:
        from hls4attn.hls.axis import kernel_source

        return tuple(kernel_source(flow.project, kernel.name, folder / kernel.name) for kernel in design.kernels)

    def extra() -> Mapping[str, bytes]:
        codes, _ = verification_codes(flow.graph, VECTORS, 0)
        return {"vectors.npz": _npz({"inputs": codes, "outputs": Reference(flow.graph).run(codes)})}

    chosen = ", the smallest that fits" if flow.fitted and settings.io_type == "io_stream" else ""
    if rtl:
        write, notes = network_kernel(flow)
        return Plan(design, write, notes, extra, RTL_FOLDER, _origin(flow, source, OVERLAYS[0], rtl))
    note = f"{settings.backend}, {settings.io_type}, reuse factor {settings.reuse_factor}{chosen}"
    return Plan(design, sources, (note,), extra, model=_origin(flow, source, OVERLAYS[0], rtl))


def _origin(flow: Flow, source: Path, overlay: str, rtl: bool) -> tuple[bytes, Made]:
    """The model as it is built, and how; for a report."""
    return flow.model.SerializeToString(deterministic=True), Made.of("build", flow, source, overlay, rtl)


def _cells_plan(model: Path | None, board: str, config: HlsConfig) -> Plan:
    """The gain cells of a model, by default of the character GPT: one window for each of its layers."""
    from hls4attn.host.flow import Flow
    from hls4attn.overlays.boards import board as find_board
    from hls4attn.overlays.gaincell import GainCellDesign, in_logic

    path = model or _zoo("char_gpt", "gaincell.onnx")
    flow = Flow.open(path, board=board, config=config)
    specs = [in_logic(node.cells) for node in flow.graph.nodes if node.cells is not None]
    if not specs:
        raise UnsupportedError(f"{path} has no gain cells; give another model, or --overlay digits")
    if any(spec != specs[0] for spec in specs):
        raise UnsupportedError(f"The gain cells in {path} differ; a board has one kind for all layers")
    design = GainCellDesign.of(specs[0], find_board(board), layers=len(specs), clock_mhz=1000 / config.clock_period_ns)

    def sources(folder: Path) -> tuple[Kernel, ...]:
        from hls4attn.hls.axis_cells import gaincell_source

        (kernel,) = design.kernels
        source = gaincell_source(
            kernel.name,
            design.spec,
            design.layers,
            design.current_width,
            folder / kernel.name,
            part=config.part,
            clock_period_ns=config.clock_period_ns,
            backend=config.backend,
        )
        return (source,)

    note = f"{len(specs)} layers of {specs[0].heads} heads, from {path.name}"
    return Plan(design, sources, (note,), model=_origin(flow, path, OVERLAYS[2], False))


def _zoo(name: str, file: str) -> Path:
    from hls4attn.models import zoo

    return Path(zoo.__file__).parent / name / file
