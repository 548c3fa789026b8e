# SPDX-License-Identifier: Apache-2.0
"""What a report says of the papers' claims."""

from __future__ import annotations

from hls4attn.host.report.content import Column, Note, Section, Table
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
