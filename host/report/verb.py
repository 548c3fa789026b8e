# SPDX-License-Identifier: Apache-2.0
"""`hls4attn report`: find out what it is about, gather the content, write both twins."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from hls4attn.host.paths import check_output
from hls4attn.host.report import ladder, page
from hls4attn.host.report.asked import Asked
from hls4attn.host.report.assembly import assemble, without_model
from hls4attn.host.report.content import Page
from hls4attn.host.report.opening import open_flow
from hls4attn.host.report.subject import Subject, find_subject
from hls4attn.models.errors import MismatchError
from hls4attn.models.files import write_json

if TYPE_CHECKING:
    from hls4attn.host.flow import Flow

#: Samples on each rung if the user does not say.
SAMPLES = 1000


def report(out: Console, err: Console, what: Path, target: Path | None, asked: Asked) -> None:
    """Write the report of a file or folder.

    Args:
        out: for results.
        err: for progress.
        what: a model, folder, archive or file of results.
        target: the HTML file; ``build/report/<name>.html`` if None.
        asked: options.

    Raises:
        MismatchError: after writing, if a stage differs from the reference.
    """
    asked.check()
    subject = find_subject(what)
    target = target or Path("build") / "report" / f"{subject.name}.html"
    check_output(target, ".html", [what])
    check_output(page.twin(target), inputs=[what])
    check_output(asked.json, inputs=[what, target, page.twin(target)])
    if subject.kind == "sweep":
        from hls4attn.host.report.sweep import sweep_page

        asked.refuse("The results of a sweep say themselves how they were made", ("samples", "seed", "stages", "board"))
        write(out, sweep_page(what), target, asked.json)
        return
    content, found = model_page(out, err, subject, asked)
    write(out, content, target, asked.json)
    if found is not None and found.wrong:
        raise MismatchError(f"stages that differ from the reference: {', '.join(found.wrong)}")


def write(out: Console, content: Page, target: Path, json: Path | None = None) -> None:
    """Write both twins and say where."""
    beside = page.write(content, target)
    if json:
        write_json(json, content.to_json())
    out.print(f"report: {target}   the same in Markdown: {beside}", soft_wrap=True, markup=False, highlight=False)


def model_page(out: Console, err: Console, subject: Subject, asked: Asked) -> tuple[Page, ladder.Verification | None]:
    """The content for anything but a sweep, and its ladder."""
    if subject.model is None:
        asked.refuse(f"{subject.path} holds no model to choose anything of", ("samples", "seed", "stages", "board"))
        return without_model(subject), None
    flow, chosen = open_flow(subject, asked)
    folder = subject.path if subject.path.is_dir() else None
    found, reason = _verified(out, err, flow, subject, folder, asked)
    return assemble(subject, flow, chosen, found, reason, asked.seed or 0), found


def _verified(
    out: Console, err: Console, flow: Flow, subject: Subject, folder: Path | None, asked: Asked
) -> tuple[ladder.Verification | None, str]:
    """The ladder that lies there and still holds, or a new one; or why there is none."""
    if asked.samples == 0:
        return None, "asked for without samples (--samples 0)"
    if folder is not None and asked.samples is None and asked.seed is None and asked.stages is None:
        taken = ladder.take(subject.ladder, folder, flow)
        if taken is not None:
            out.print(f"verification of {taken.when} taken from {folder / taken.taken}", soft_wrap=True, markup=False)
            return taken, ""
    samples = SAMPLES if asked.samples is None else asked.samples
    out.print(f"{subject.name}: every stage on {samples:,} samples", soft_wrap=True, markup=False, highlight=False)
    found = ladder.climb(out, err, flow, folder, samples, asked.seed or 0, asked.stages)
    if folder is not None:
        ladder.leave(found, folder)
    return found, ""
