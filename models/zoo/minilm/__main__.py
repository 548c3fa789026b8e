# SPDX-License-Identifier: Apache-2.0
"""``python -m hls4attn.models.zoo.minilm --sentences FILE``: the evidence as a table."""

from __future__ import annotations

import hashlib
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from hls4attn.models.errors import Hls4attnError
from hls4attn.models.files import write_json
from hls4attn.models.zoo.minilm.evidence import Row, evidence
from hls4attn.models.zoo.minilm.text import read_sentences
from hls4attn.models.zoo.minilm.weights import load_minilm

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
err = Console(stderr=True)


@app.command()
def run(
    sentences: Annotated[Path, typer.Option(help="UTF-8 text: prose or a corpus.", show_default=False)],
    count: Annotated[int, typer.Option(help="Sentences to evaluate.")] = 300,
    calibration: Annotated[int, typer.Option(help="Other sentences, to calibrate the number formats.")] = 64,
    seed: Annotated[int, typer.Option(help="Draws the sentences.", min=0)] = 0,
    json: Annotated[Path | None, typer.Option(help="Also write the result to this file.", show_default=False)] = None,
) -> None:
    """Compare all-MiniLM-L6-v2 with SOLE's operators, not retrained, to itself in float32."""
    start = time.monotonic()
    found = read_sentences(sentences)
    model = load_minilm()
    lengths = [len(tokens) for tokens in model.tokenise(found)]
    with err.status("Starting") as status:
        rows = evidence(
            found,
            calibration,
            count,
            seed,
            lambda name, done, every: status.update(f"{name} ({done + 1} of {every})"),
            model,
        )
    facts = {
        "model": f"all-MiniLM-L6-v2, package version {model.version}",
        "text": sentences.name,
        "text_sha256": hashlib.sha256(sentences.read_bytes()).hexdigest(),
        "sentences_found": len(found),
        "tokens_median": int(np.median(lengths)),
        "tokens_longest": max(lengths),
        "calibration": calibration,
        "evaluation": count,
        "seed": seed,
        "numpy": np.__version__,
        "seconds": round(time.monotonic() - start, 1),
    }
    Console(width=None if sys.stdout.isatty() else 160).print(table(rows, facts))
    if json is not None:
        write_json(json, facts | {"rows": [row.to_json() for row in rows]})


def table(rows: list[Row], facts: dict[str, Any]) -> Table:
    """Rows as text, the facts they depend on as caption."""
    caption = (
        f"{facts['evaluation']} of {facts['sentences_found']} sentences of {facts['text']} (three disjoint groups, "
        f"± is their standard deviation), {facts['calibration']} others to calibrate, seed {facts['seed']}, "
        f"{facts['tokens_median']} tokens in the median and at most {facts['tokens_longest']}, "
        f"{facts['seconds']} s.  Std error: of the standard deviation in the normalisation."
    )
    result = Table(title="all-MiniLM-L6-v2, not retrained, against itself in float32", caption=caption)
    result.add_column("Configuration", no_wrap=True)
    for heading in ("Cosine", "1 %", "Min", "Spearman", "Neighbour", "Row sum", "(range)", "Std error", "(rms, range)"):
        result.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        result.add_row(row.name, *_cells(row))
    return result


def _cells(row: Row) -> list[str]:
    a, sums, std = row.agreement, row.row_sums, row.std_error
    return [
        f"{a.cosine.mean:.4f}±{a.cosine.deviation:.4f}",
        f"{a.cosine_p1:.3f}",
        f"{a.cosine_min:.3f}",
        f"{a.spearman.mean:.4f}±{a.spearman.deviation:.4f}",
        f"{a.neighbour.mean:.0%}±{a.neighbour.deviation:.0%}",
        f"{sums.mean:.3f}" if sums else "",
        f"{sums.low:.2f}..{sums.high:.2f}" if sums else "",
        f"{std.mean:+.1%}" if std else "",
        f"{std.rms:.1%}, {std.low:+.0%}..{std.high:+.0%}" if std else "",
    ]


def main(arguments: list[str] | None = None) -> None:
    """Run the command; a user's error is one line and the error's exit code."""
    try:
        app(args=arguments)
    except Hls4attnError as error:
        err.print(f"error: {' '.join(str(error).split())}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        err.print("interrupted")
        sys.exit(130)


if __name__ == "__main__":
    main()
