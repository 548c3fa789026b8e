# SPDX-License-Identifier: Apache-2.0
"""The finished overlay: checked against its design, with the record of how it was built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hls4attn.models.errors import BuildError
from hls4attn.models.files import write_json
from hls4attn.overlays.building.folder import Recipe
from hls4attn.overlays.building.results import build_record
from hls4attn.overlays.building.tools import Tools
from hls4attn.overlays.package import Package, write_package

RECORD = "build.json"


def finish(recipe: Recipe, folder: Path, tools: Tools) -> tuple[Package, dict[str, Any]]:
    """Check the built files against the design and put the overlay together.

    Args:
        recipe: what was built.
        folder: of the build; the bitstream and the handoff lie in ``out/``.
        tools: that built it.

    Returns:
        The overlay in ``overlay/``, and the content of ``build.json``.

    Raises:
        BuildError: if a file is missing or cannot be read.
        ModelFileError: if the handoff or the bitstream is not that of the design.
    """
    name = recipe.design.name
    bit, handoff = (_content(folder / "out" / f"{name}{suffix}") for suffix in (".bit", ".hwh"))
    package = write_package(recipe.design, folder / "overlay", bit=bit, handoff=handoff)
    record = build_record(recipe, folder, tools, [package.bit, package.hwh, package.manifest])
    write_json(folder / RECORD, record)
    return package, record


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BuildError(f"{path}: {error.strerror}; build again without removing files of out/") from error
