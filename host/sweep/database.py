# SPDX-License-Identifier: Apache-2.0
"""Results in one SQLite file: a transaction a result, so that a killed sweep has all that it finished."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sqlite3
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hls4attn.host.sweep.point import STATUSES, Result
from hls4attn.models.errors import InputError

VERSION = 1
#: How SQLite says that the file cannot grow; the codes of its errors are known since Python 3.11 only.
_NO_ROOM = ("disk is full", "disk I/O error", "readonly database")
_MAGIC = b"SQLite format 3\0"
_APPLICATION = 0x48344157  # marks a database as one of ours
_SCHEMA = f"""
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {VERSION};
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE results (
    key TEXT PRIMARY KEY, settings TEXT NOT NULL, status TEXT NOT NULL, metrics TEXT NOT NULL, seconds REAL NOT NULL,
    worker TEXT NOT NULL, error TEXT NOT NULL, log TEXT NOT NULL, in_plan INTEGER NOT NULL
);
"""
_COLUMNS = "key, settings, status, metrics, seconds, worker, error, log, in_plan"


class Database:
    """An open file of results.

    Args:
        path: of the file; made if it is not there.
        writable: whether results may be added.

    Raises:
        InputError: if the file is foreign, truncated, or of a newer version; it is left as it is.
    """

    def __init__(self, path: Path, writable: bool = True) -> None:
        self._path, self._writable = path, writable
        if writable and not path.exists():
            _create(path)
        check_header(path)
        mode = "rw" if writable else "ro"
        try:
            # Autocommit: every statement is a transaction.  In WAL mode a killed process leaves a file that is whole.
            self._base = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None)
        except sqlite3.Error as error:
            raise self._damaged(error) from error
        try:
            self._check()
            if writable:
                self._rows("PRAGMA journal_mode = WAL")
                self._rows("PRAGMA synchronous = NORMAL")
        except BaseException:
            self._base.close()
            raise

    def _check(self) -> None:
        application = self._rows("PRAGMA application_id")[0][0]
        if application != _APPLICATION:
            raise InputError(f"{self._path} is an SQLite file, but holds no sweep; choose another name")
        version = self._rows("PRAGMA user_version")[0][0]
        if version > VERSION:
            raise InputError(newer(self._path, version))
        found = self._rows("PRAGMA quick_check(1)")[0][0]
        if found != "ok":
            raise InputError(f"{self._path} is damaged ({found}); restore it from a copy, or remove it and begin anew")

    def _damaged(self, error: sqlite3.Error) -> InputError:
        if any(words in str(error) for words in _NO_ROOM):
            return InputError(
                f"Cannot write {self._path} ({error}); make room there: what is in it is whole, and the same command "
                "goes on"
            )
        return InputError(f"{self._path} is damaged or in use ({error}); restore it from a copy, or begin a new file")

    def meta(self) -> dict[str, Any]:
        """What is known about the sweep."""
        rows = self._rows("SELECT key, value FROM meta")
        return {key: json.loads(value) for key, value in rows}

    def keys(self) -> dict[str, str]:
        """Status of every point, by its key, the longest ago first."""
        return dict(self._rows("SELECT key, status FROM results ORDER BY rowid"))

    def begin(self, meta: Mapping[str, Any], keys: Iterable[str], others: Iterable[tuple[Result, bool]] = ()) -> None:
        """Begin a run: all of it, or, if the process is killed meanwhile, nothing.

        Args:
            meta: replaces entries of `meta`.
            keys: of the plan's points; which results belong to it is noted anew.
            others: results of another file, kept where there are none of the same point yet.
        """
        self._rows("BEGIN")
        for result, in_plan in others:
            self._insert("INSERT OR IGNORE", result, in_plan)
        held = self.keys()
        self._rows("UPDATE results SET in_plan = 0")
        for key in keys:
            if key in held:
                self._rows("UPDATE results SET in_plan = 1 WHERE key = ?", (key,))
        for name, value in meta.items():
            self._rows("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, json.dumps(value)))
        self._rows("COMMIT")

    def add(self, result: Result) -> None:
        """Keep a result of the plan of now, in the place of an older one of the same point."""
        self._insert("INSERT OR REPLACE", result, True)

    def _insert(self, how: str, result: Result, in_plan: bool) -> None:
        row = (
            result.key,
            to_json(result.settings),
            result.status,
            to_json(result.metrics),
            result.seconds,
            clean(result.worker),
            clean(result.error),
            clean(result.log),
            int(in_plan),
        )
        self._rows(f"{how} INTO results ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    def results(self) -> list[tuple[Result, bool]]:
        """All results as they came, each with whether it belongs to the last plan."""
        return [
            (as_result(self._path, row[:-1]), bool(row[-1]))
            for row in self._rows(f"SELECT {_COLUMNS} FROM results ORDER BY rowid")
        ]

    def _rows(self, statement: str, values: tuple[Any, ...] = ()) -> list[Any]:
        try:
            return self._base.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise self._damaged(error) from error

    def close(self) -> None:
        """Close the file; without other readers, SQLite's own journal is folded into it."""
        if self._writable:
            with contextlib.suppress(sqlite3.Error):  # somebody reads it: his SQLite does so then
                self._base.execute("PRAGMA journal_mode = DELETE")
        self._base.close()


def _create(path: Path) -> None:
    """An empty file of results, which appears whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
    except OSError as error:
        raise InputError(f"Cannot write {path}: {error.strerror}; choose another place") from error
    temporary = Path(name)
    try:
        base = sqlite3.connect(temporary, isolation_level=None)
        base.executescript(_SCHEMA)
        base.close()
        temporary.chmod(0o644)
        remove_logs(path)
        temporary.replace(path)
    except (OSError, sqlite3.Error) as error:
        raise InputError(f"Cannot write {path}: {error}; choose another place") from error
    finally:
        temporary.unlink(missing_ok=True)


def remove_logs(path: Path) -> None:
    """Remove what SQLite kept beside a file that is gone: it would take it for the new one's, old results and all."""
    for end in ("-wal", "-shm", "-journal"):
        path.with_name(path.name + end).unlink(missing_ok=True)


def check_header(path: Path) -> None:
    """Refuse a file that is no SQLite database.

    Raises:
        InputError: saying so.
    """
    try:
        with path.open("rb") as file:
            head = file.read(len(_MAGIC))
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}") from error
    if head != _MAGIC:
        raise InputError(f"{path} is no file of a sweep (no SQLite database, or a truncated one); choose another name")


def newer(path: Path, version: Any) -> str:
    """Words for a file of a newer version."""
    return f"{path} was written by a newer hls4attn (its format is {version}, known is {VERSION}); update hls4attn"


def as_result(path: Path, row: Iterable[Any]) -> Result:
    """A result from what a file holds.

    Args:
        path: of the file, for errors.
        row: key, settings, status, metrics, seconds, worker, error, log.

    Raises:
        InputError: if these are anything else.
    """
    try:
        key, settings, status, metrics, seconds, worker, error, log = row
        result = Result(key, json.loads(settings), status, json.loads(metrics), float(seconds), worker, error, log)
    except (TypeError, ValueError) as problem:
        raise InputError(f"{path} holds a result that cannot be read: {problem}; restore it from a copy") from problem
    if status not in STATUSES or not isinstance(result.settings, dict) or not isinstance(result.metrics, dict):
        raise InputError(f"{path} holds a result that no sweep writes (status {status!r}); restore it from a copy")
    return result


def to_json(value: Any) -> str:
    """JSON of plain values; what is no number is null."""
    return json.dumps(_finite(value), ensure_ascii=True, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def clean(text: str) -> str:
    """A text without what no UTF-8 file can hold, as a tool's log may."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")
