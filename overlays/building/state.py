# SPDX-License-Identifier: Apache-2.0
"""Which scripts of a build are done, so that an interrupted one goes on where it stopped.

A script is done if it ran to its end with the same text, the same tool and the same inputs, and what it wrote is still
there.  An input that another script writes counts by what that script was made of and not by its bytes: Vivado keeps
rewriting its project.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hls4attn.models.files import write_json
from hls4attn.overlays.building.folder import absent
from hls4attn.overlays.building.tools import Tools
from hls4attn.overlays.scripts import Script

FILE = "state.json"
KIND = "hls4attn-build-state"
VERSION = 1
WORK = "vivado/"  # what lies there is rewritten by later scripts


def script_keys(scripts: Sequence[Script], folder: Path, tools: Tools) -> dict[str, str]:
    """What each script's result follows from, as one hash a script; those without a tool have none."""
    keys: dict[str, str] = {}
    producers: dict[str, str] = {}
    for script in scripts:
        if script.tool not in tools:
            break
        digest = hashlib.sha256(f"{script.tool}\0{tools[script.tool].banner}\0{script.text}\0".encode())
        for path in sorted(script.reads):
            by = producers.get(path)
            digest.update(f"{path}\0{keys[by] if by else content_hash(folder / path)}\0".encode())
        if script.tool == "vivado":  # they share a project, whether or not they name its files
            for other in (s for s in scripts if s.name in keys and s.tool == "vivado"):
                digest.update(keys[other.name].encode())
        keys[script.name] = digest.hexdigest()
        producers |= dict.fromkeys(script.writes, script.name)
    return keys


def content_hash(path: Path) -> str:
    """Hash of a file, or of a folder with the names in it; of nothing, if it is not there."""
    if path.is_dir():
        digest = hashlib.sha256()
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(f"{file.relative_to(path).as_posix()}\0{content_hash(file)}\0".encode())
        return digest.hexdigest()
    if not path.is_file():
        return ""
    digest = hashlib.sha256()
    with path.open("rb") as content:
        while chunk := content.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


@dataclass
class State:
    """The record of a build folder.

    Args:
        path: of the record.
        done: by script: its key, the seconds it took and the hashes of what it wrote.
    """

    path: Path
    done: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> State:
        """The record of a folder; an empty one if there is none that this version can use."""
        path = folder / FILE
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if (data["kind"], data["version"]) != (KIND, VERSION):
                return cls(path)
            done = {str(name): dict(entry) for name, entry in data["done"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return cls(path)  # no record, or a damaged one: everything runs again
        return cls(path, done)

    def is_done(self, script: Script, key: str) -> bool:
        """Whether a script need not run again."""
        entry = self.done.get(script.name)
        folder = self.path.parent
        if entry is None or entry.get("key") != key or absent(folder, script.writes):
            return False
        hashes = entry.get("writes")
        if not isinstance(hashes, Mapping):
            return False
        return all(hashes.get(path) == content_hash(folder / path) for path in _checked(script))

    def seconds(self, script: Script) -> float | None:
        """How long it took, if it is done."""
        found = self.done.get(script.name, {}).get("seconds")
        return float(found) if isinstance(found, int | float) else None

    def forget(self, script: Script) -> None:
        """A script is about to run: whatever happens, what it left before is no result."""
        if self.done.pop(script.name, None) is not None:
            self._write()

    def record(self, script: Script, key: str, seconds: float) -> None:
        """A script has run to its end."""
        hashes = {path: content_hash(self.path.parent / path) for path in _checked(script)}
        self.done[script.name] = {"key": key, "seconds": round(seconds, 1), "writes": hashes}
        self._write()

    def _write(self) -> None:
        write_json(self.path, {"kind": KIND, "version": VERSION, "done": self.done})


def _checked(script: Script) -> list[str]:
    return [path for path in script.writes if not path.startswith(WORK)]
