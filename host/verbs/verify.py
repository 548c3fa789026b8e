# SPDX-License-Identifier: Apache-2.0
"""What `verify` does: every stage of a model or an operator against the integer reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from hls4attn.host.connect import chosen_board, chosen_model
from hls4attn.host.flow import ALL_STAGES, ON_REQUEST, STAGES, Flow
from hls4attn.host.ladder import Rung, climb
from hls4attn.host.paths import check_output
from hls4attn.host.samples import verification_codes
from hls4attn.host.verbs.common import hls_settings, tell_reuse, working
from hls4attn.models.errors import InputError, MismatchError
from hls4attn.models.files import write_json
from hls4attn.models.formats import Codes
from hls4attn.models.operators import GainCellSpec

RTL, NETLIST = ON_REQUEST

if TYPE_CHECKING:
    from hls4attn.hls.config import HlsConfig
    from hls4attn.host.rtl_stage import RtlOperatorStage
    from hls4attn.models.export.graph import Graph
    from hls4attn.models.export.keras_stage import KerasStage
    from hls4attn.models.export.stages import Stage


def verify(
    out: Console,
    err: Console,
    path: Path | None,
    operator: str | None,
    samples: int,
    seed: int,
    names: list[str] | None,
    board: str | None,
    json: Path | None,
    choices: Mapping[str, Any] | None = None,
    requested: Sequence[str] = (),
) -> None:
    """Climb the ladder for a model or an operator; `requested` are stages besides those of `names`.

    Raises:
        InputError: if nothing could be compared.
        MismatchError: after all rungs, if any stage differs.
    """
    unknown = [n for n in names or () if n not in ALL_STAGES]
    if names == []:
        raise InputError(f"--stages names no stage; known: {', '.join(ALL_STAGES)}")
    if unknown:
        raise InputError(f"Unknown stages {unknown}; known: {', '.join(ALL_STAGES)}")
    requested = [s for s in ON_REQUEST if s in requested or s in (names or ())]
    names = None if names is None else [n for n in names if n not in requested]
    if seed < 0:
        raise InputError(f"The seed must not be negative. Received: {seed}")
    check_output(json, inputs=[path])
    board = chosen_board(board)
    if operator and RTL in requested and NETLIST not in requested and names is None:
        requested.append(NETLIST)  # of a unit it takes seconds
    wants_rtl = bool(requested) or chosen_model() == "rtl"
    settings, fitted = hls_settings(board, choices=choices, rtl=path is not None and wants_rtl)
    rungs: list[Rung] = []
    try:
        if path is not None:
            flow = Flow.open(path, board=board, config=settings, fitted=fitted)
            flow = flow.where_rtl(choices or {}) if wants_rtl else flow
            codes, described = verification_codes(flow.graph, samples, seed)
            out.print(f"{path.name}: {described}", soft_wrap=True, markup=False)
            tell_reuse(out, flow)
            there = _in_rtl(out, flow, requested)
            if there or names != []:
                climb_and_print(out, err, flow, codes, names, into=rungs, requested=there)
        else:
            arguments = (operator or "", samples, seed, names, requested, board, rungs, settings, fitted)
            _verify_operator(out, err, *arguments)
    finally:
        if json and rungs:
            write_json(json, [r.to_json() for r in rungs])
    if not rungs:
        raise InputError("Nothing was compared; see the lines above")
    wrong = sorted({r.stage for r in rungs if r.mismatches})
    if wrong:
        raise MismatchError(f"stages that differ from the reference: {', '.join(wrong)}")


def _verify_operator(
    out: Console,
    err: Console,
    operator: str,
    rows: int,
    seed: int,
    names: list[str] | None,
    requested: list[str],
    board: str,
    rungs: list[Rung],
    settings: HlsConfig,
    fitted: bool,
) -> None:
    from hls4attn.host.cell_stage import NAME, coprocessor_stage
    from hls4attn.host.operator_models import (
        is_norm,
        operator_cases,
        operator_codes,
        operator_distance,
        operator_model,
    )

    if rows < 1:
        raise InputError(f"samples must be at least 1. Received: {rows}")
    for number, case in enumerate(operator_cases(operator)):
        spec = case.spec()
        flow = Flow(
            f"{operator}_{number}",
            operator_model(spec),
            board=board,
            config=settings,
            fitted=fitted,
            keras=lambda graph, s=spec: _operator_keras_stage(graph, s),  # type: ignore[misc]
            rtl=_operator_rtl_stage,
        )
        codes = operator_codes(flow.graph, rows, seed)
        axes = 2 if is_norm(spec) else 3
        count = prod(codes.shape[:axes])
        out.print(
            f"{operator}, {case.title}: {count} rows of {codes.shape[-1]} (seed {seed})", highlight=False, markup=False
        )
        found = operator_distance(spec, codes)
        if found:
            on = " on Gaussian rows" if is_norm(spec) else ""
            out.print(f"  distance to the float function{on}: {found}", highlight=False, soft_wrap=True, markup=False)
        further = {}
        if isinstance(spec, GainCellSpec):
            further[NAME] = partial(coprocessor_stage, flow.graph, spec, board)
        there = _in_rtl(out, flow, requested)
        if there or names != []:
            climb_and_print(out, err, flow, codes, names, axes, rungs, further, there, case.name)


def _in_rtl(out: Console, flow: Flow, requested: list[str]) -> list[str]:
    """The requested stages if there is Verilog; else none, and a line that says why."""
    if requested and flow.no_rtl is not None:
        for stage in requested:
            out.print(f"  {stage:<12} not compared: {flow.no_rtl}", soft_wrap=True, markup=False, highlight=False)
        return []
    if RTL in requested and NETLIST not in requested and flow.rtl is None:
        out.print(f"  {NETLIST:<12} not compared: synthesis of a whole model takes many minutes; add --netlist")
    return requested


def _operator_rtl_stage(graph: Graph, netlist: bool) -> RtlOperatorStage:
    from hls4attn.host.rtl_stage import RtlOperatorStage

    return RtlOperatorStage(graph, netlist)


def _operator_keras_stage(graph: Graph, spec: Any) -> KerasStage:
    from hls4attn.host.operator_layers import operator_keras
    from hls4attn.models.export.keras_stage import KerasStage

    return KerasStage(graph, operator_keras(spec, graph.input.shape))


def climb_and_print(
    out: Console,
    err: Console,
    flow: Flow,
    codes: Codes,
    names: Sequence[str] | None,
    unit_axes: int = 1,
    into: list[Rung] | None = None,
    further: Mapping[str, Callable[[], AbstractContextManager[Stage]]] | None = None,
    requested: Sequence[str] = (),
    case: str = "",
) -> list[Rung]:
    """One line a rung; `into` receives the rungs as they finish, so that they outlast the error of a later one.

    Without `names` every stage runs, of those `ON_REQUEST` the `requested` ones; Keras and the board are left out, with
    a note, where they are not there.  Those in `further` run where the board does.
    """
    if names is not None:
        wanted = [*names, *requested]
    else:
        wanted = [s for s in ALL_STAGES if s in STAGES or s in requested]
        for stage, reason in flow.absent_stages().items():
            wanted.remove(stage)
            out.print(f"  {stage:<12} not compared: {reason}", soft_wrap=True, markup=False)
    rungs = [] if into is None else into
    with working(err, "reference") as tell:
        stages: dict[str, Any] = {n: partial(flow.stage, n) for n in wanted}
        stages |= dict(further or {}) if "board" in wanted else {}
        for rung in climb(flow.graph, stages, codes, tell, unit_axes):
            rungs.append(replace(rung, case=case))
            colour = "red" if rung.mismatches else "green"
            line = Text(f"  {rung.stage:<12} ")
            line.append(f"{rung.mismatches}/{rung.samples} mismatches", style=colour)
            line.append(f"  against the {rung.against}, {rung.seconds:.1f} s")
            line.append(f"  ({rung.device})" if rung.device else "")
            out.print(line, soft_wrap=True, highlight=False)
            if rung.difference:
                out.print(f"               {rung.difference}", soft_wrap=True, markup=False)
    return rungs
