# SPDX-License-Identifier: Apache-2.0
"""Tables of the README and the documentation, made from the committed records.

``python -m hls4attn.host.bench.documents`` renews, in the repository's root, all that stands between ``<!-- table: NAME -->``
and ``<!-- end of table -->`` in `README.md` and `docs/pages`; file names after it renew those files only.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from hls4attn.host.bench.hardware_readme import markdown_table, read_run, tables
from hls4attn.host.bench.results import mismatches, read_results
from hls4attn.models.errors import InputError, ModelFileError
from hls4attn.models.files import atomic_write

_ZOO = Path(__file__).parents[2] / "models" / "zoo"
_BETWEEN = re.compile(r"(<!-- table: ([\w-]+) -->\n+).*?(\n*<!-- end of table -->)", re.DOTALL)
#: Labels of the encoder's variants, by their names in the record.
_ENCODER = {
    "int8 scores": "8-bit scores, float softmax",
    "E2Softmax": "E2Softmax",
    "PTF input": "8-bit inputs, float LayerNorm",
    "integer LayerNorm": "exact integer LayerNorm, 8-bit output",
    "AILayerNorm": "AILayerNorm, 8-bit output",
    "SOLE": "both",
    "integer both": "exact integer softmax and LayerNorm",
}


def renewed(text: str, where: str = "text") -> str:
    """A text with every table between marks made anew.

    Raises:
        InputError: if a table is not known, or a mark lacks its other half.
    """
    if len(_BETWEEN.findall(text)) != max(text.count("<!-- table: "), text.count("<!-- end of table -->")):
        raise InputError(f"{where}: a table lacks its <!-- table: NAME --> or its <!-- end of table -->")

    def table(match: re.Match[str]) -> str:
        if match[2] not in TABLES:
            raise InputError(f"{where}: there is no table {match[2]!r}; known: {', '.join(TABLES)}")
        return f"<!-- table: {match[2]} -->\n\n{TABLES[match[2]]()}\n<!-- end of table -->"

    return _BETWEEN.sub(table, text)


def _read(*parts: str) -> Any:
    path = _ZOO.joinpath(*parts)
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ModelFileError(f"{path} is missing or no JSON: {error}") from error


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _results() -> str:
    rows = []
    for row in read_results():
        wrong, stages, samples = mismatches(row)
        found = row["estimate"]
        cells = [row["title"], _quality(row["name"]), f"{wrong}/{samples:,} in {stages}" if stages > 1 else f"{wrong}/{samples:,} in RTL"]
        figures = (f"{found[key]:,}" for key in ("latency_cycles", "interval_cycles", "dsp", "lut"))
        rows.append([*cells, *figures, "yes" if found["fits"] else "no"])
    head = ["model", "quality", "mismatches, in stages", "cycles, first", "cycles, each further", "DSP", "LUT ~", "fits"]
    return markdown_table(head, rows)


def _quality(name: str) -> str:
    """Accuracy, or loss, on the test set: mean of three seeds."""
    if name == "gaincell":
        rows = _read("char_gpt", "evidence.json")["rows"]
        return f"{next(r['mean'] for r in rows if r['name'] == 'gaincell'):.3f} nats"
    if name == "sole":
        return _percent(_read("digits_vit", "sole.json")["summary"]["INT8 + both"]["mean"])
    return _percent(_read("digits_vit", f"{name.removesuffix('-rtl')}.json")["mean"])


def _digits() -> str:
    rows = []
    for score, label in (("consmax", "ConSmax"), ("softmax", "integer softmax")):
        record = _read("digits_vit", f"{score}.json")
        seeds = ", ".join(f"{100 * a:.2f}" for a in record["accuracies"])
        rows.append([label, _percent(record["mean"]), _percent(record["spread"]), seeds])
    return markdown_table(["score function", "mean", "spread (standard deviation)", "three seeds"], rows)


def _sole() -> str:
    summary = _read("digits_vit", "sole.json")["summary"]
    rows = [[name, _percent(found["mean"]), _percent(found["spread"])] for name, found in summary.items()]
    return markdown_table(["variant", "mean", "spread"], rows)


def _characters() -> str:
    rows = [
        [f"{r['name']}: {r['meaning']}", f"{r['steps']:,}", f"{r['mean']:.3f}", f"{r['spread']:.3f}"]
        for r in _read("char_gpt", "evidence.json")["rows"]
    ]
    return markdown_table(["model", "steps", "loss", "spread"], rows)


def _sweep(kind: str, label: str) -> str:
    found = _read("char_gpt", "evidence.json")["sweeps"][kind]
    return markdown_table([label, *(f"{x['value']:g}" for x in found)], [["loss", *(f"{x['mean']:.3f}" for x in found)]])


def _encoder() -> str:
    runs = _read("minilm", "evidence.json")
    rows = []
    for name, label in _ENCODER.items():
        found = [next(r for r in run["rows"] if r["name"] == name)["agreement"] for run in runs]
        rows.append([label, *(f"{fmean(f[key]['mean'] for f in found):.4f}" for key in ("cosine", "spearman"))])
    return markdown_table(["in place of float softmax and LayerNorm", "cosine", "Spearman of similarities"], rows)


#: What makes each table.
TABLES: Mapping[str, Callable[[], str]] = {
    "results": _results,
    "digits": _digits,
    "sole": _sole,
    "encoder": _encoder,
    "characters": _characters,
    "leak": lambda: _sweep("leak", "leak a token"),
    "read-noise": lambda: _sweep("read_noise", "read noise"),
    "mismatch": lambda: _sweep("mismatch", "mismatch of cells"),
    "units": lambda: tables(read_run())["units"],
    "heads": lambda: tables(read_run())["heads"],
}


def main(arguments: Sequence[str]) -> None:
    """Renew the tables of the files that are named, else those of the README and all pages."""
    files = [Path(a) for a in arguments] or [Path("README.md"), *sorted(Path("docs/pages").rglob("*.md"))]
    for file in files:
        text = file.read_text()
        if (new := renewed(text, str(file))) != text:
            atomic_write(file, new.encode())
            print(f"renewed {file}")


if __name__ == "__main__":
    main(sys.argv[1:])
