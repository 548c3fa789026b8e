# SPDX-License-Identifier: Apache-2.0
"""What a report says of where its results come from: the papers' claims, and what it takes to get them again."""

from __future__ import annotations

from collections.abc import Sequence

from hls4attn.host.report.content import Block, Column, Commands, Facts, Note, Section, Table
from hls4attn.host.report.made import Made
from hls4attn.host.report.versions import versions
from hls4attn.models.export.graph import Graph

#: Sections of the claims table that concern an operator.
_SECTIONS = {
    "ConSmax": "consmax",
    "ConSmaxSplit": "consmax",
    "E2Softmax": "sole",
    "E2Context": "sole",
    "AILayerNorm": "sole",
    "GainCell": "gaincell",
}


def claims_section(graph: Graph | None) -> Section:
    """Claims of the papers whose operators the model has."""
    from hls4attn.host.claims import SECTIONS

    nodes = () if graph is None else graph.nodes
    specs = [n.spec or n.context or n.norm or n.cells for n in nodes]
    types = [s.op_type for s in specs if s is not None]
    wanted = dict.fromkeys(_SECTIONS[t] for t in types if t in _SECTIONS)
    if not wanted:
        what = "has no one model" if graph is None else "has no operator of these papers"
        return Section("claims", "Claims of the papers", (Note(f"None concerns this: it {what}.", "why"),))
    columns = tuple(map(Column, ("claim", "paper", "measured here", "command", "not shown")))
    tables = []
    for name in wanted:
        claims = SECTIONS[name]()
        rows = tuple((c.claim, c.paper, c.measured, c.command, c.not_shown) for c in claims)
        tables.append(Table(claims[0].section, columns, rows, folded=True))
    lead = Note(
        "Of the operators in this model: what the papers say, what is measured here, and what may not be concluded."
    )
    return Section("claims", "Claims of the papers", (lead, *tables))


def reproduce_section(
    commands: Sequence[str], hashes: Sequence[tuple[str, str]], made: Made | None, seed: int | None
) -> Section:
    """Command lines, hashes and versions.

    Args:
        commands: that lead here.
        hashes: what, and its SHA-256.
        made: how the folder came about, if it is known.
        seed: of the random samples; None if nothing was drawn.
    """
    here = versions()
    blocks: list[Block] = [Commands(tuple(commands)), Facts(tuple(hashes), code=True)]
    if made is not None and dict(made.versions) != here:
        rows = tuple((f"{made.verb}: {name}", version) for name, version in made.versions.items())
        blocks += [
            Note(f"{made.verb} ran on {made.when} with other versions than this report:"),
            Facts(rows, code=True),
        ]
    facts = [*here.items()] + ([] if seed is None else [("Seed", str(seed))])
    return Section("reproduce", "Reproduce", (*blocks, Facts(tuple(facts), code=True)))
