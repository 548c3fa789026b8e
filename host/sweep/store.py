# SPDX-License-Identifier: Apache-2.0
"""Where the results of a sweep are kept, as they arrive: SQLite, or Parquet with an SQLite journal beside it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hls4attn.host.paths import check_output
from hls4attn.host.sweep.database import Database, remove_logs
from hls4attn.host.sweep.point import Result
from hls4attn.host.sweep.table_file import read_table, require_arrow, write_table
from hls4attn.models.errors import InputError

SQLITE = (".sqlite", ".db")
PARQUET = ".parquet"
SUFFIXES = (*SQLITE, PARQUET)
#: A Parquet file is written anew after this time, and when writing has cost less than a fiftieth of it.
PARQUET_S, SHARE = 30.0, 50


@dataclass(frozen=True)
class SweepFile:
    """What a file of results holds.

    Attributes:
        meta: plan (text), plan_file (name), points, objectives, only_fitting, versions and, of earlier runs,
            earlier_versions.
        results: of points of the last plan, as they came.
        others: of points that only earlier plans had.
    """

    meta: Mapping[str, Any]
    results: list[Result]
    others: list[Result]


class Store:
    """An open file of results, which nobody else writes; use `Store.open`.

    Attributes:
        path: of the file.
        earlier_versions: `meta`'s, of runs of other versions that its results may be of.
    """

    def __init__(
        self, path: Path, lock: int, base: Database, begun: bool, earlier_versions: list[dict[str, str]]
    ) -> None:
        self.path, self._lock, self._base, self._begun = path, lock, base, begun
        self.earlier_versions = earlier_versions
        self._written, self._cost = time.monotonic(), 0.0

    @classmethod
    def open(cls, path: Path, meta: Mapping[str, Any], keys: Iterable[str]) -> Store:
        """Open a file of results, or begin one.

        Args:
            path: .sqlite, .db or .parquet.
            meta: of `SweepFile`; replaces that of an earlier run.
            keys: of the plan's points.

        Raises:
            InputError: if another sweep writes it, or it is foreign, truncated or of a newer version.
        """
        check_file(path)
        lock = _lock(path)
        begun = not path.exists() and not journal_path(path).exists()
        try:
            # A Parquet file is read first, so that a foreign one gets no journal.
            before, held = read_table(path) if path.suffix == PARQUET and path.exists() else ({}, [])
            base = Database(_database(path))
            try:
                earlier = _earlier_versions(base.meta() or before, meta)
                base.begin({**meta, "earlier_versions": earlier}, keys, held)
            except BaseException:
                base.close()
                raise
        except BaseException:
            _unlock(path, lock)
            raise
        return cls(path, lock, base, begun, earlier)

    def ended(self) -> dict[str, str]:
        """How every point ended, by its key, the longest ago first."""
        return self._base.keys()

    def add(self, result: Result) -> None:
        """Keep a result; when this returns, killing the process does not lose it."""
        self._base.add(result)
        if self.path.suffix == PARQUET:
            age = time.monotonic() - self._written
            if age > PARQUET_S and age > SHARE * self._cost:
                self._write()

    def results(self) -> list[Result]:
        """Results of the plan's points, as they came."""
        return [result for result, in_plan in self._base.results() if in_plan]

    def close(self, finished: bool = False) -> None:
        """Close the file; a Parquet file is written.  A file that was begun and got no result is removed.

        Args:
            finished: whether no point is left; then the journal beside a Parquet file is removed.
        """
        parquet, base = self.path.suffix == PARQUET, _database(self.path)
        try:
            try:
                empty = self._begun and not self._base.keys()
                if parquet and not empty:
                    self._write()
            finally:
                self._base.close()
            if empty or (parquet and finished):
                base.unlink()
                remove_logs(base)  # which are there while somebody reads it
        finally:
            _unlock(self.path, self._lock)

    def _write(self) -> None:
        start = time.monotonic()
        write_table(self.path, self._base.meta(), self._base.results())
        self._written = time.monotonic()
        self._cost = self._written - start


def journal_path(path: Path) -> Path:
    """The SQLite journal beside a Parquet file."""
    return path.with_name(f"{path.name}.journal")


def check_file(path: Path) -> None:
    """Refuse a file of results that could not be written.

    Raises:
        InputError: saying why.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: a sweep's file must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    if path.suffix == PARQUET:
        require_arrow()
    check_output(path)


def read_results(path: Path) -> SweepFile:
    """A file of results, also while a sweep writes it.

    Args:
        path: .sqlite, .db or .parquet; of an interrupted sweep, what its journal holds.

    Raises:
        InputError: if it is missing, foreign, truncated or of a newer version.
        ToolError: if it is Parquet, and pyarrow is missing.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: a sweep's file ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    held = _read_database(path)
    if not held and path.suffix == PARQUET and path.is_file():
        held = read_table(path)
    if not held:
        what = "No run of a sweep has begun in" if path.is_file() else "No such file:"
        raise InputError(f"{what} {path}; hls4attn sweep PLAN --out {path} makes it")
    meta, rows = held
    return SweepFile(meta, [r for r, mine in rows if mine], [r for r, mine in rows if not mine])


def _earlier_versions(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[dict[str, str]]:
    """Versions of earlier runs that are not those of now, each once."""
    seen = [*before.get("earlier_versions", []), before.get("versions")]
    return [v for place, v in enumerate(seen) if v and v != now.get("versions") and v not in seen[:place]]


def _database(path: Path) -> Path:
    """The SQLite file of a sweep's file: itself, or the journal of a Parquet file."""
    return path if path.suffix in SQLITE else journal_path(path)


def _read_database(path: Path) -> tuple[dict[str, Any], list[tuple[Result, bool]]] | None:
    """What the SQLite file of a sweep holds; None if there is none, or no run has begun in it yet."""
    database = _database(path)
    try:
        base = Database(database, writable=False)
    except InputError:
        if database.exists():
            raise
        return None  # never there, or removed just now: the sweep is finished, and the Parquet file written
    try:
        meta, rows = base.meta(), base.results()
    finally:
        base.close()
    return (meta, rows) if meta else None


def _lock(path: Path) -> int:
    """A lock that the system drops with the process, however that ends.

    Raises:
        InputError: if another process has it.
    """
    name = _lock_path(path)
    try:
        name.parent.mkdir(parents=True, exist_ok=True)
        while True:
            descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
                os.close(descriptor)
                raise InputError(
                    f"Another sweep writes {path} (process {holder}); wait for it, stop it, or choose another --out"
                ) from error
            with contextlib.suppress(FileNotFoundError):
                if os.fstat(descriptor).st_ino == name.stat().st_ino:
                    break
            os.close(descriptor)  # its owner removed it just now
    except OSError as error:
        raise InputError(f"Cannot write {name}: {error.strerror}; choose another --out") from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _unlock(path: Path, descriptor: int) -> None:
    _lock_path(path).unlink(missing_ok=True)
    os.close(descriptor)


def _lock_path(path: Path) -> Path:
    real = path.resolve()  # a file with two names is one file
    return real.with_name(f".{real.name}.lock")
