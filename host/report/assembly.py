# SPDX-License-Identifier: Apache-2.0
"""The content of a report, put together from a model, its ladder and what lies in its folder."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hls4attn.host.report import accuracy, arithmetic, claims, estimated, ladder, reproduce, synthesised
from hls4attn.host.report.content import Page, Section, Tile
from hls4attn.host.report.made import written
from hls4attn.host.report.subject import BUILD, Subject
from hls4attn.models.errors import UnsupportedError

if TYPE_CHECKING:
    from hls4attn.host.flow import Flow

_KINDS = {
    "model": "Model",
    "project": "Converted model",
    "build": "Build",
    "archive": "Built overlay",
}


def assemble(
    subject: Subject,
    flow: Flow,
    chosen: str,
    found: ladder.Verification | None,
    reason: str,
    seed: int,
    measured: str = "",
) -> Page:
    """The content from a model, its ladder and what lies in its folder.

    Args:
        subject: what the report is about.
        flow: the model with its choices.
        chosen: who chose the reuse factor.
        found: the ladder.
        reason: why there is none.
        seed: of random samples, if there is no ladder.
        measured: accuracy that a board has reached, in words.
    """
    graph = flow.graph
    seed = found.seed if found else seed
    codes, words = arithmetic.typical_codes(graph, arithmetic.TYPICAL, seed)
    tiles: list[Tile] = []
    sections: list[Section] = []

    def add(section: Section, more: Sequence[Tile] = ()) -> None:
        sections.append(section)
        tiles.extend(more)

    add(arithmetic.model_section(graph))
    add(*arithmetic.verification_section(found, reason))
    add(*accuracy.accuracy_section(graph, measured))
    add(*_estimate(flow, chosen, subject))
    add(synthesised.synthesis_section(subject.record, _waiting(subject), graph))
    add(*arithmetic.errors_section(graph, codes, words))
    for section in arithmetic.attention_sections(graph, codes, words):
        add(section)
    add(claims.claims_section(graph))
    add(reproduce.of_model(subject, flow, found, seed))
    lead = f"{graph.name} for {flow.board}{_ran(found)}."
    return Page(subject.name, _KINDS[subject.kind], lead, written(), tuple(tiles), tuple(sections))


def _ran(found: ladder.Verification | None) -> str:
    """Whether a board, real or emulated, has computed the same."""
    if found is None or not found.device:
        return "" if found is None else ", not run on a board"
    return f", {'not equal to the reference' if found.wrong else 'verified'} on {found.device}"


def _estimate(flow: Flow, chosen: str, subject: Subject) -> tuple[Section, list[Tile]]:
    try:
        if subject.made is not None and subject.made.rtl:
            return estimated.rtl_section(flow)
        return estimated.estimate_section(flow, chosen)
    except UnsupportedError as error:
        return estimated.no_estimate(error)


def _waiting(subject: Subject) -> str:
    """Why nothing was synthesised."""
    if subject.kind == "build":
        where = subject.path.absolute().name
        return f"Not built yet: {where} has no {BUILD}. The same hls4attn build, without --dry-run, goes on from there."
    return "Nothing of this model was synthesised: it has not been built (hls4attn build)."


def without_model(subject: Subject) -> Page:
    """A build that has no one model, such as the bank of operators, or one that does not hold it."""
    waiting = _waiting(subject)
    design, record = subject.design or {}, subject.record
    board = record["board"] if record else design.get("board", "unknown board")
    board = board.get("name", "unknown board") if isinstance(board, Mapping) else board
    report = shlex.join(["hls4attn", "report", subject.path.absolute().name])
    hashes = [(f"Built {n}", d) for n, d in (record["sha256"] if record else {}).items()]
    sections = [
        synthesised.synthesis_section(record, waiting, None),
        claims.claims_section(None),
        reproduce.reproduce_section([report], hashes or [("Files", "none were built")], None, None),
    ]
    lead = f"{subject.name} for {board}. It holds no one model, as a bank of operators does not."
    return Page(subject.name, _KINDS[subject.kind], lead, written(), (), tuple(sections))
