# SPDX-License-Identifier: Apache-2.0
"""What `convert` and `build` leave in their folders, so that a report can say later how they came about.

`made.json` says from which file, with which choices and versions; `verification.json` holds the last ladder that was
climbed with what is in the folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hls4attn.host.versions import versions
from hls4attn.models.errors import ModelFileError
from hls4attn.models.files import write_json
from hls4attn.overlays import strict

if TYPE_CHECKING:
    from hls4attn.host.flow import Flow

MADE, LADDER, MODEL = "made.json", "verification.json", "model.onnx"
KIND, LADDER_KIND, VERSION = "hls4attn-made", "hls4attn-verification", 1
_MAX_BYTES = 4 << 20


@dataclass(frozen=True)
class Made:
    """How a folder came about.

    Attributes:
        verb: convert or build.
        overlay: of build: which one was asked for; empty for convert.
        name: of the model.
        source: the model file's name.
        source_folder: where it was, for its Keras weights; empty in an archive.
        source_sha256: of the model file; empty if it was not read from a file.
        model_id: SHA-256 of the model.
        board: name of the board.
        config: conversion options.
        rtl: whether kernels are Verilog.
        when: in UTC.
        versions: of everything that takes part.
    """

    verb: str
    overlay: str
    name: str
    source: str
    source_folder: str
    source_sha256: str
    model_id: str
    board: str
    config: Mapping[str, Any]
    rtl: bool
    when: str
    versions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, verb: str, flow: Flow, source: Path, overlay: str = "", rtl: bool = False) -> Made:
        """Of a model that was read from `source`."""
        return cls(
            verb=verb,
            overlay=overlay,
            name=flow.name,
            source=source.name,
            source_folder=str(source.absolute().parent),
            source_sha256=hashlib.sha256(source.read_bytes()).hexdigest(),
            model_id=flow.model_id,
            board=flow.board,
            config=flow.settings.to_dict(),
            rtl=rtl,
            when=now(),
            versions=versions(),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"kind": KIND, "version": VERSION, **asdict(self)}

    def write(self, folder: Path) -> None:
        """Leave it in a folder.

        Raises:
            ModelFileError: if it cannot be written.
        """
        write_json(folder / MADE, self.to_json())


def now() -> str:
    """The time, in UTC."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def written() -> str:
    """When a report was written, and by which version."""
    return f"Written {now()} by hls4attn {versions()['hls4attn'].partition(',')[0]}."


def parse_made(data: bytes, where: str) -> Made:
    """The content of a `made.json`.

    Raises:
        ModelFileError: if it is none of this version.
    """
    values = parse_record(data, where, KIND)
    kinds: dict[str, strict.Kind] = {
        **dict.fromkeys(
            ("verb", "overlay", "name", "source", "source_folder", "source_sha256", "model_id", "board", "when"), str
        ),
        **dict.fromkeys(("config", "versions"), dict),
        "rtl": bool,
    }
    return Made(**strict.fields(values, where, kinds))


def parse_record(data: bytes, where: str, kind: str) -> dict[str, Any]:
    """Values of a record of a kind.

    Raises:
        ModelFileError: if it is something else.
    """
    values = strict.parse_json(data, where)
    if not isinstance(values, dict) or (values.pop("kind", None), values.pop("version", None)) != (kind, VERSION):
        raise ModelFileError(f"{where}: not of the kind {kind}, version {VERSION}; convert or build again")
    return values


def read(folder: Path, name: str) -> bytes | None:
    """A record's bytes; None if it is not there."""
    path = folder / name
    return strict.read_bytes(path, _MAX_BYTES) if path.is_file() else None
