# SPDX-License-Identifier: Apache-2.0
"""What a report is about, told by the content of a file or folder and never by its name."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hls4attn.host.report.made import LADDER, MADE, MODEL, Made, parse_made, read
from hls4attn.models.errors import InputError, ModelFileError
from hls4attn.overlays import strict
from hls4attn.overlays.building.results import KIND, VERSION

if TYPE_CHECKING:
    import onnx

ACCEPTED = (
    "claims, a model (.onnx), a folder that hls4attn convert or build has written, a build's archive (.zip), "
    "or a sweep's results (.sqlite, .parquet)"
)
PROJECT, DESIGN, BUILD = "hls4attn.json", "design.json", "build.json"
_MAX_RECORD, _MAX_MODEL = 16 << 20, 1 << 30
#: What a report reads of `build.json`.
_RECORD = {
    **dict.fromkeys(("overlay", "board", "part"), str),
    **dict.fromkeys(("clock_mhz", "tools", "reports", "sha256"), dict),
}
_SQLITE, _PARQUET, _ZIP = b"SQLite format 3\0", b"PAR1", b"PK\x03\x04"


@dataclass(frozen=True, eq=False)
class Subject:
    """What was found.

    Attributes:
        kind: "model", "project" (of convert), "build", "archive" or "sweep".
        path: where.
        name: what to call it.
        model: the model, if it is one or holds one.
        made: how it came about, if that is recorded.
        record: content of ``build.json``, if it was built.
        ladder: bytes of the last verification that lies there.
        design: of a build: name and board of the overlay, if it was not built.
    """

    kind: str
    path: Path
    name: str
    model: onnx.ModelProto | None = None
    made: Made | None = None
    record: Mapping[str, Any] | None = None
    ladder: bytes | None = None
    design: Mapping[str, Any] | None = None


def find_subject(path: Path) -> Subject:
    """Look at a file or folder.

    Raises:
        InputError: saying what was found there and what is accepted.
        ModelFileError: for a model, record or archive that is damaged.
    """
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise InputError(f"No such file or folder: {path}. A report is about {ACCEPTED}")
    with path.open("rb") as file:
        start = file.read(16)
    if start.startswith(_SQLITE) or start.startswith(_PARQUET):
        return Subject("sweep", path, path.stem)
    if start.startswith(_ZIP):
        return _archive(path)
    if path.name in (PROJECT, DESIGN, BUILD, MADE) and any((path.parent / n).is_file() for n in (PROJECT, DESIGN)):
        return _folder(path.parent)
    return _model(path, start)


def _model(path: Path, start: bytes) -> Subject:
    from hls4attn.models.export.reader import load_model

    try:
        return Subject("model", path, path.stem, load_model(path))
    except ModelFileError as error:
        if path.suffix == ".onnx":
            raise
        raise InputError(f"{path} is {_kind_of(start)}. A report is about {ACCEPTED}") from error


def _kind_of(start: bytes) -> str:
    if not start:
        return "an empty file"
    return "a text file" if start.isascii() and b"\0" not in start else f"no model: it begins with {start[:8]!r}"


def _folder(path: Path) -> Subject:
    """A folder of convert or build."""
    if (path / PROJECT).is_file():
        return _project(path)
    if (path / DESIGN).is_file():
        return _build(path)
    inside = sorted(p.parent.name for name in (PROJECT, DESIGN) for p in path.glob(f"*/{name}"))
    if inside:
        raise InputError(f"{path} holds {', '.join(inside)}: name one of these folders ({path / inside[0]})")
    found = ", ".join(sorted(p.name for p in path.iterdir())[:5]) or "nothing"
    raise InputError(
        f"{path} is no folder of convert or build: neither {PROJECT} nor {DESIGN} is in it. Found: {found}. "
        f"A report is about {ACCEPTED}"
    )


def _project(path: Path) -> Subject:
    """A folder of convert."""
    from hls4attn.hls.project import open_project

    project, made = open_project(path), _made(path)
    name = made.name if made else path.absolute().name
    model = _load(project.model.read_bytes(), str(project.model))
    return Subject("project", path, name, model, made, ladder=read(path, LADDER))


def _build(path: Path) -> Subject:
    """A folder of build, before or after the vendor's tools."""
    design = strict.parse_json(strict.read_bytes(path / DESIGN, _MAX_RECORD), str(path / DESIGN))
    if not isinstance(design, dict):
        raise ModelFileError(f"{path / DESIGN} is no design; build again")
    made = _made(path)
    name = made.name if made else str(design.get("name", path.name))
    model = _load(strict.read_bytes(path / MODEL, _MAX_MODEL), str(path / MODEL)) if made else None
    content = strict.read_bytes(path / BUILD, _MAX_RECORD) if (path / BUILD).is_file() else None
    record = _record(content, str(path / BUILD))
    return Subject("build", path, name, model, made, record, read(path, LADDER), design)


def _made(path: Path) -> Made | None:
    content = read(path, MADE)
    return None if content is None else parse_made(content, str(path / MADE))


def _record(content: bytes | None, where: str) -> Mapping[str, Any] | None:
    if content is None:
        return None
    found = strict.parse_json(content, where)
    if not isinstance(found, dict) or (found.get("kind"), found.get("version")) != (KIND, VERSION):
        raise ModelFileError(f"{where}: no record of a build of version {VERSION}; build again")
    for name, kind in _RECORD.items():
        if not isinstance(found.get(name), kind):
            raise ModelFileError(f"{where}: {name} is damaged or missing; build again")
    return found


def _load(content: bytes, where: str) -> onnx.ModelProto:
    from hls4attn.models.export.reader import parse_model

    return parse_model(content, where)


def _archive(path: Path) -> Subject:
    """The archive that a build leaves for the board."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {n.partition("/")[2]: n for n in archive.namelist()}
            if BUILD not in names:
                found = ", ".join(sorted(archive.namelist())[:3]) or "nothing"
                raise InputError(
                    f"{path} is an archive without {BUILD}; it holds {found}. A report is about {ACCEPTED}"
                )
            content = {n: _member(archive, names[n], path) for n in (BUILD, MADE, MODEL) if n in names}
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
        raise ModelFileError(f"{path} is no readable archive: {error}") from error
    made = parse_made(content[MADE], f"{path}: {MADE}") if MADE in content else None
    model = _load(content[MODEL], f"{path}: {MODEL}") if MODEL in content else None
    record = _record(content[BUILD], f"{path}: {BUILD}")
    return Subject("archive", path, made.name if made else path.stem, model, made, record)


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    """A member of bounded size."""
    size = archive.getinfo(name).file_size
    if size > _MAX_MODEL:
        raise ModelFileError(f"{path}: {name} has {size} bytes; at most {_MAX_MODEL} are accepted")
    return archive.read(name)
