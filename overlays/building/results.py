# SPDX-License-Identifier: Apache-2.0
"""What a build has to show for itself, collected into `build.json`."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from hls4attn.models.errors import BuildError
from hls4attn.overlays.building.folder import Recipe
from hls4attn.overlays.building.hls_report import parse_csynth
from hls4attn.overlays.building.origin import origin
from hls4attn.overlays.building.reports import parse_power, parse_timing, parse_utilization
from hls4attn.overlays.building.state import State
from hls4attn.overlays.building.tools import Tools

KIND = "hls4attn-build"
VERSION = 1
MAX_REPORT = 64 << 20
_VIVADO = {"utilization": parse_utilization, "timing": parse_timing, "power": parse_power}


def collect_reports(folder: Path, kernels: Collection[str]) -> dict[str, Any]:
    """The numbers of all reports that are there: `hls` by kernel, `utilization`, `timing`, `power`.

    Args:
        folder: of the build.
        kernels: those of high-level synthesis; reports of others are of an earlier build.

    Raises:
        BuildError: if a report is there and not complete.
    """
    found: dict[str, Any] = {"hls": {}}
    for path in sorted((folder / "reports").glob("hls_*.xml")):
        name = path.stem.removeprefix("hls_")
        if name in kernels:
            found["hls"][name] = parse_csynth(_read(path), str(path))
    for name, parse in _VIVADO.items():
        path = folder / "reports" / f"{name}.rpt"
        if path.is_file():
            parsed: Any = parse(_read(path).decode("utf-8", "replace"), str(path))  # type: ignore[operator]
            found[name] = parsed.to_dict() if name == "timing" else parsed
    return found


def build_record(recipe: Recipe, folder: Path, tools: Tools, files: Sequence[Path] = ()) -> dict[str, Any]:
    """The content of `build.json`.

    Args:
        recipe: what was built.
        folder: of the build.
        tools: that built it.
        files: whose checksums go into it.
    """
    design = recipe.design
    state = State.read(folder)
    kernels = _kernels(recipe)
    return {
        "kind": KIND,
        "version": VERSION,
        "overlay": design.name,
        "board": design.board.name,
        "part": design.board.part,
        "clock_mhz": {"requested": design.clock_mhz, "made": design.clock.mhz},
        "model_id": design.model_id,
        "design_sha256": hashlib.sha256(design.to_json().encode()).hexdigest(),
        "tools": {
            kind: {"launcher": t.launcher, "release": t.release, "banner": t.banner} for kind, t in tools.items()
        },
        "hls4attn": origin(),
        "kernels": kernels,
        "scripts": [
            {
                "name": s.name,
                "stage": s.stage,
                "done": s.name in state.done,
                "seconds": state.seconds(s),
            }
            for s in recipe.scripts
        ],
        "reports": collect_reports(folder, [name for name, kind in kernels.items() if kind == "hls"]),
        "sha256": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
    }


def _kernels(recipe: Recipe) -> dict[str, str]:
    """What each kernel is made of: `hls` (C++) or `rtl` (Verilog)."""
    kinds = {"hls": "hls", "kernel": "rtl"}
    made = [(script.stage, script.name.removeprefix(f"{script.stage}_")) for script in recipe.scripts]
    return {name: kinds[stage] for stage, name in made if stage in kinds}


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_REPORT:
            raise BuildError(f"{path}: {size} bytes; a report has at most {MAX_REPORT}")
        return path.read_bytes()
    except OSError as error:
        raise BuildError(f"{path} cannot be read: {error.strerror}") from error
