# SPDX-License-Identifier: Apache-2.0
"""What `verify` does: every stage of a model or an operator against the integer reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from hls4attn.host.connect import chosen_board
from hls4attn.host.flow import STAGES, Flow
from hls4attn.host.ladder import Rung, climb
from hls4attn.host.paths import check_output
from hls4attn.host.samples import verification_codes
from hls4attn.host.verbs.common import hls_settings, tell_reuse, working
from hls4attn.models.errors import InputError, MismatchError
from hls4attn.models.files import write_json
from hls4attn.models.formats import Codes
from hls4attn.models.operators import GainCellSpec

if TYPE_CHECKING:
    from hls4attn.hls.config import HlsConfig
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
) -> None:
    """Climb the ladder for a model or an operator.

    Raises:
        MismatchError: after all rungs, if any stage differs.
    """
    unknown = [n for n in names or () if n not in STAGES]
    if unknown or names == []:
        raise InputError(f"Unknown stages {unknown}; known: {', '.join(STAGES)}")
    if seed < 0:
        raise InputError(f"The seed must not be negative. Received: {seed}")
    check_output(json, inputs=[path])
    board = chosen_board(board)
    settings, fitted = hls_settings(board, choices=choices)
    rungs: list[Rung] = []
    try:
        if path is not None:
            flow = Flow.open(path, board=board, config=settings, fitted=fitted)
            codes, described = verification_codes(flow.graph, samples, seed)
            out.print(f"{path.name}: {described}", soft_wrap=True, markup=False)
            tell_reuse(out, flow)
            climb_and_print(out, err, flow, codes, names, into=rungs)
        else:
            _verify_operator(out, err, operator or "", samples, seed, names, board, rungs, settings, fitted)
    finally:
        if json and rungs:
            write_json(json, [r.to_json() for r in rungs])
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
        climb_and_print(out, err, flow, codes, names, unit_axes=axes, into=rungs, further=further)


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
) -> list[Rung]:
    """One line a rung; `into` receives the rungs as they finish, so that they outlast the error of a later one.

    Without `names` every stage runs; Keras and the board are left out, with a note, where they are not there.  Those in
    `further` run where the board does.
    """
    wanted = list(names or STAGES)
    if names is None:
        for stage, reason in flow.absent_stages().items():
            wanted.remove(stage)
            out.print(f"  {stage:<12} not compared: {reason}", soft_wrap=True, markup=False)
    rungs = [] if into is None else into
    with working(err, "reference") as tell:
        stages: dict[str, Any] = {n: partial(flow.stage, n) for n in wanted}
        stages |= dict(further or {}) if "board" in wanted else {}
        for rung in climb(flow.graph, stages, codes, tell, unit_axes):
            rungs.append(rung)
            colour = "red" if rung.mismatches else "green"
            line = Text(f"  {rung.stage:<12} ")
            line.append(f"{rung.mismatches}/{rung.samples} mismatches", style=colour)
            line.append(f"  against the {rung.against}, {rung.seconds:.1f} s")
            line.append(f"  ({rung.device})" if rung.device else "")
            out.print(line, soft_wrap=True)
            if rung.difference:
                out.print(f"               {rung.difference}", soft_wrap=True, markup=False)
    return rungs
