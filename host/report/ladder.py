# SPDX-License-Identifier: Apache-2.0
"""The verification ladder of a report: climbed now, or the one that lies in the folder and still holds."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from hls4attn.host.report.made import LADDER, LADDER_KIND, VERSION, now, parse_record
from hls4attn.host.versions import versions
from hls4attn.models.errors import Hls4attnError, ModelFileError, SimulationError
from hls4attn.models.files import write_json
from hls4attn.overlays import strict

if TYPE_CHECKING:
    from hls4attn.host.flow import Flow
    from hls4attn.host.ladder import Rung

#: What every rung says.
_RUNG: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("stage", "against", "device"), str),
    **dict.fromkeys(("samples", "mismatches"), int),
    "seconds": (int, float),
}
_SOURCES = (".h", ".cpp", ".onnx", ".v", ".sv")


@dataclass(frozen=True)
class Verification:
    """A ladder and what it was climbed with.

    Attributes:
        model_id: SHA-256 of the model.
        board: name of the board.
        config: conversion options.
        sources: hash of the folder's sources at that time; empty without a folder.
        samples: how many were asked for.
        seed: of the random ones.
        described: what the samples were.
        when: in UTC.
        versions: of everything that took part.
        rungs: as `Rung.to_json` gives them, with seconds and device.
        absent: stages that did not take part, and why.
        failed: stages that stopped, and how.
        taken: where this was found; empty if it was climbed for this report.
    """

    model_id: str
    board: str
    config: Mapping[str, Any]
    sources: str
    samples: int
    seed: int
    described: str
    when: str
    versions: Mapping[str, str]
    rungs: Sequence[Mapping[str, Any]]
    absent: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    taken: str = ""

    @property
    def wrong(self) -> list[str]:
        """Stages that differ from the reference or stopped."""
        return [str(r["stage"]) for r in self.rungs if r["mismatches"]] + list(self.failed)

    @property
    def device(self) -> str:
        """What the board says that it is; empty if there was none."""
        return next((str(r["device"]) for r in self.rungs if r["stage"] == "board"), "")

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        found = {"kind": LADDER_KIND, "version": VERSION, **asdict(self)}
        del found["taken"]
        return found


def of_rungs(
    flow: Flow, folder: Path | None, rungs: Sequence[Rung], samples: int, seed: int, words: str
) -> Verification:
    """What a climbed ladder says."""
    return Verification(
        flow.model_id, flow.board, flow.settings.to_dict(), sources_of(folder), samples, seed, words, now(), versions(),
        [{**r.to_json(), "seconds": round(r.seconds, 2), "device": r.device} for r in rungs],
    )  # fmt: skip


def climb(
    out: Console,
    err: Console,
    flow: Flow,
    folder: Path | None,
    samples: int,
    seed: int,
    stages: Sequence[str] | None,
) -> Verification:
    """Climb the ladder; a stage that cannot run is left out with its reason unless it was asked for by name.

    Raises:
        Hls4attnError: if a stage that was asked for cannot run.
    """
    from hls4attn.host.flow import STAGES
    from hls4attn.host.samples import verification_codes
    from hls4attn.host.verbs.verify import climb_and_print

    absent = {} if stages else flow.absent_stages()
    wanted = list(stages) if stages else [name for name in STAGES if name not in absent]
    failed: dict[str, str] = {}
    rungs: list[Rung] = []
    codes, words = verification_codes(flow.graph, samples, seed)
    while wanted:
        done = len(rungs)
        try:
            climb_and_print(out, err, flow, codes, wanted, into=rungs)
            wanted = []
        except Hls4attnError as error:
            if stages:
                raise
            stopped = wanted[len(rungs) - done]
            (failed if isinstance(error, SimulationError) else absent)[stopped] = str(error)
            out.print(f"  {stopped:<12} not compared: {error}", soft_wrap=True, markup=False)
            wanted = wanted[len(rungs) - done + 1 :]
    found = of_rungs(flow, folder, rungs, samples, seed, words)
    return replace(found, absent=absent, failed=failed)


def leave(found: Verification, folder: Path) -> None:
    """Leave it in a folder, so that the next report can take it.

    Raises:
        ModelFileError: if it cannot be written.
    """
    write_json(folder / LADDER, found.to_json())


def take(content: bytes | None, folder: Path, flow: Flow) -> Verification | None:
    """The ladder that lies in a folder, if it is of this model, these choices and these sources.

    Raises:
        ModelFileError: if it cannot be read; remove it then.
    """
    if content is None:
        return None
    where = folder / LADDER
    values = parse_record(content, str(where), LADDER_KIND)
    kinds: dict[str, strict.Kind] = {
        **dict.fromkeys(("model_id", "board", "sources", "described", "when"), str),
        **dict.fromkeys(("config", "versions", "absent", "failed"), dict),
        **dict.fromkeys(("samples", "seed"), int),
        "rungs": list,
    }
    found = Verification(**strict.fields(values, str(where), kinds), taken=where.name)
    for rung in found.rungs:
        if not isinstance(rung, dict) or not all(isinstance(rung.get(k), kind) for k, kind in _RUNG.items()):
            raise ModelFileError(f"{where}: a rung is incomplete; remove the file")
    same = (found.model_id, found.board, found.config, found.sources) == (
        flow.model_id, flow.board, flow.settings.to_dict(), sources_of(folder),
    )  # fmt: skip
    return found if same else None


def sources_of(folder: Path | None) -> str:
    """Hash of the sources in a folder: whoever edits one of them has verified nothing."""
    if folder is None:
        return ""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.suffix in _SOURCES and p.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
