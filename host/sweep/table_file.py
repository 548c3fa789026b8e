# SPDX-License-Identifier: Apache-2.0
"""Results as one Parquet file, a typed column each for settings and metrics."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hls4attn.host.sweep.database import VERSION, as_result, clean, newer, to_json
from hls4attn.host.sweep.point import Result
from hls4attn.models.errors import InputError, ToolError
from hls4attn.models.files import atomic_write

_META = b"hls4attn.sweep"
_TEXTS = ("key", "status", "worker", "error", "log")
_RESULT = ("key", "settings", "status", "metrics", "seconds", "worker", "error", "log")
_INT64 = 1 << 63


def require_arrow() -> Any:
    """The Parquet library.

    Raises:
        ToolError: if it is missing.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ToolError(
            f'Parquet files need pyarrow ({error}): pip install "hls4attn[sweep]", or name a file .sqlite'
        ) from error
    return pyarrow


def write_table(path: Path, meta: Mapping[str, Any], results: Sequence[tuple[Result, bool]]) -> None:
    """Write the file atomically.

    Args:
        path: of the file.
        meta: what is known about the sweep; it goes into the schema's metadata.
        results: each with whether it belongs to the last plan.
    """
    arrow = require_arrow()
    columns: dict[str, Any] = {name: [clean(getattr(r, name)) for r, _ in results] for name in _TEXTS}
    columns = {name: arrow.array(values, arrow.string()) for name, values in columns.items()}
    columns["seconds"] = arrow.array([r.seconds for r, _ in results], arrow.float64())
    columns["in_plan"] = arrow.array([in_plan for _, in_plan in results], arrow.bool_())
    for kind, field in (("setting", "settings"), ("metric", "metrics")):
        tables = [getattr(r, field) for r, _ in results]
        columns[field] = arrow.array([to_json(t) for t in tables], arrow.string())
        for name in sorted({name for t in tables for name in t}):
            array = _column(arrow, [t.get(name) for t in tables])
            if array is not None:
                columns[f"{kind}.{name}"] = array
    table = arrow.table(columns)
    text = json.dumps({"format": VERSION, **meta})
    table = table.replace_schema_metadata({_META: text.encode()})
    buffer = io.BytesIO()
    arrow.parquet.write_table(table, buffer, compression="zstd")
    atomic_write(path, buffer.getvalue())


def _column(arrow: Any, values: list[Any]) -> Any:
    """One typed column; None where no type holds the values, which are in the JSON column."""
    kinds = {type(v) for v in values if v is not None}
    if not kinds:
        return arrow.array(values, arrow.null())
    if kinds == {bool}:
        return arrow.array(values, arrow.bool_())
    if kinds == {int}:
        fit = all(v is None or -_INT64 <= v < _INT64 for v in values)
        return arrow.array(values, arrow.int64()) if fit else None
    if kinds <= {int, float}:
        return arrow.array([None if v is None else float(v) for v in values], arrow.float64())
    if kinds <= {str, int, float}:  # "fit" or a number
        return arrow.array([None if v is None else clean(str(v)) for v in values], arrow.string())
    return None


def read_table(path: Path) -> tuple[dict[str, Any], list[tuple[Result, bool]]]:
    """What `write_table` wrote: meta and results.

    Raises:
        InputError: if the file is foreign, truncated, or of a newer version.
    """
    arrow = require_arrow()
    try:
        with path.open("rb") as file:
            table = arrow.parquet.ParquetFile(file).read()
        meta = json.loads((table.schema.metadata or {}).get(_META, b"null"))
    except OSError as error:
        raise InputError(f"{path} cannot be read as Parquet ({error}); choose another name") from error
    except (arrow.ArrowException, ValueError) as error:
        raise InputError(f"{path} is no Parquet file, or a truncated one ({error}); choose another name") from error
    if not isinstance(meta, dict) or "format" not in meta:
        raise InputError(f"{path} is a Parquet file, but holds no sweep; choose another name")
    if meta["format"] != VERSION:
        raise InputError(newer(path, meta["format"]))
    if missing := {*_RESULT, "in_plan"} - set(table.column_names):
        raise InputError(f"{path} lacks the columns {', '.join(sorted(missing))}; somebody changed it")
    rows = zip(*(table[name].to_pylist() for name in (*_RESULT, "in_plan")), strict=True)
    return meta, [(as_result(path, row[:-1]), bool(row[-1])) for row in rows]
