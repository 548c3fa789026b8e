# SPDX-License-Identifier: Apache-2.0
"""The verb that compares many configurations: sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hls4attn.host.cli.console import err, out
from hls4attn.host.cli.options import ChartFile, JsonFile
from hls4attn.models.errors import InputError


def sweep(
    plan: Annotated[Path | None, typer.Argument(help="TOML file that says which points.", show_default=False)] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--out", help="File of results, .parquet, .sqlite or .db; it goes on with one.", show_default=False
        ),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option("--show", help="Run nothing; print the front of this file of results.", show_default=False),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Address of a Dask scheduler, such as tcp://10.0.0.5:8786.",
            show_default="workers on this machine",
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Points at a time on this machine.", show_default="one a processor")
    ] = None,
    resources: Annotated[
        list[str] | None,
        typer.Option(help="NAME=AMOUNT, what points share, such as vivado=2 licences; repeat it.", show_default=False),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds that a point may take.", show_default="the plan's")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many points in this run.", show_default=False)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the points; run none.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run failed, too slow and lost points again.")
    ] = False,
    objectives: Annotated[
        str | None,
        typer.Option(help="Of the front, such as accuracy:max,dsp:min.", show_default="the plan's"),
    ] = None,
    json: JsonFile = None,
    chart: ChartFile = None,
) -> None:
    """Many configurations of a model: convert, verify and estimate each; the Pareto front. It goes on after a stop."""
    from hls4attn.host.sweep import outputs as extra
    from hls4attn.host.sweep import verb

    outputs = extra.Outputs(json, chart, [o.strip() for o in (objectives or "").split(",") if o.strip()])
    if results is not None:
        if plan is not None or file is not None or dry_run:
            raise InputError("--show runs nothing: leave PLAN, --out and --dry-run away")
        options = {"scheduler": scheduler, "workers": workers, "resources": resources, "timeout": timeout}
        options |= {"limit": limit, "retry-failed": retry_failed or None}
        if idle := [f"--{name}" for name, value in options.items() if value is not None and value != []]:
            raise InputError(f"--show runs nothing: leave {', '.join(idle)} away")
        extra.show(out, results, outputs)
        return
    if plan is None:
        raise InputError("Give a plan, or --show FILE of an earlier one; see hls4attn sweep --help")
    if limit is not None and limit < 1:
        raise InputError(f"--limit must be at least 1. Received: {limit}")
    if dry_run:
        verb.list_points(out, plan, limit)
        return
    if file is None:
        raise InputError(f"Where are the results kept? Add --out {plan.stem}.parquet, or .sqlite")
    running = verb.Running(scheduler, workers, parse_resources(resources or []), timeout, limit, retry_failed)
    raise typer.Exit(verb.sweep(out, err, plan, file, running, outputs))


def parse_resources(texts: list[str]) -> dict[str, float]:
    """Dask resources from texts such as ``vivado=2``.

    Raises:
        InputError: for anything else, or a name given twice.
    """
    found: dict[str, float] = {}
    for text in ",".join(texts).split(",") if texts else []:
        name, _, amount = (part.strip() for part in text.partition("="))
        try:
            value = float(amount)
        except ValueError:
            value = 0.0
        if not name or not 0 < value < float("inf") or name in found:
            raise InputError(f"--resources takes each name once, as in vivado=2. Received: {','.join(texts)!r}")
        found[name] = value
    return found
