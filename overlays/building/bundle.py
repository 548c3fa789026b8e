# SPDX-License-Identifier: Apache-2.0
"""The finished overlay, and one archive with it and our host code for a board without network.

The archive needs nothing but what a PYNQ image brings (Python, numpy, pynq)::

    unzip digits-pynq-z2.zip && cd digits-pynq-z2 && sudo -E python3 first_run.py
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hls4attn import models
from hls4attn.models.errors import BuildError
from hls4attn.models.files import atomic_write, write_json
from hls4attn.overlays.building.folder import Recipe
from hls4attn.overlays.building.results import build_record
from hls4attn.overlays.building.tools import Tools
from hls4attn.overlays.package import Package, write_package

RECORD = "build.json"
CODE = ("models", "overlays", "host")
#: Code and small tables; no weights, no notebooks.
KINDS = (".py", ".toml", ".typed")
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # equal content gives equal archives


def finish(
    recipe: Recipe, folder: Path, tools: Tools, extra: Mapping[str, bytes] | None = None
) -> tuple[Package, Path]:
    """Check the built files against the design and pack them.

    Args:
        recipe: what was built.
        folder: of the build; the bitstream and the handoff lie in ``out/``.
        tools: that built it.
        extra: further files of the archive, by their path in it.

    Returns:
        The overlay in ``overlay/``, and the archive.

    Raises:
        BuildError: if a file is missing or cannot be read.
        ModelFileError: if the handoff is not that of the design.
    """
    name = recipe.design.name
    bit, handoff = (_content(folder / "out" / f"{name}{suffix}") for suffix in (".bit", ".hwh"))
    package = write_package(recipe.design, folder / "overlay", bit=bit, handoff=handoff)
    files = [package.bit, package.hwh, package.manifest]
    record = build_record(recipe, folder, tools, files)
    write_json(folder / RECORD, record)
    archive = folder / f"{name}-{recipe.design.board.name}.zip"
    contents = {f"overlay/{path.name}": path.read_bytes() for path in files}
    contents[RECORD] = (folder / RECORD).read_bytes()
    atomic_write(archive, pack(archive.stem, {**contents, **host_code(), **_notes(recipe, record), **(extra or {})}))
    return package, archive


def host_code() -> dict[str, bytes]:
    """The Python that drives a board, by its path in the archive."""
    root = Path(models.__file__).resolve().parent.parent  # of a wheel or of the sources: the same folders
    found = {}
    for part in CODE:
        place = root / part
        for path in sorted(p for p in place.rglob("*") if p.suffix in KINDS and "__pycache__" not in p.parts):
            found[f"hls4attn/{part}/{path.relative_to(place).as_posix()}"] = path.read_bytes()
    return found


def pack(top: str, contents: Mapping[str, bytes]) -> bytes:
    """A zip archive with everything below one folder."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in sorted(contents.items()):
            entry = zipfile.ZipInfo(f"{top}/{name}", _LONG_AGO)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BuildError(f"{path}: {error.strerror}; build again without removing files of out/") from error


def _notes(recipe: Recipe, record: Mapping[str, Any]) -> dict[str, bytes]:
    """How to use the archive, and the first thing to run."""
    design = recipe.design
    tools = ", ".join(tool["banner"] for tool in record["tools"].values())
    made = json.dumps(record["hls4attn"])
    readme = f"""{design.name} for {design.board.name} ({design.board.part})

Built with: {tools}
hls4attn: {made}

On the board, as root with PYNQ's environment:

    . /etc/profile.d/pynq_venv.sh; . /etc/profile.d/xrt_setup.sh    # where they exist
    python3 first_run.py

In your own program, with this folder as the current one or on PYTHONPATH:

    from hls4attn.host.connect import connect
    from hls4attn.host.driver import load_overlay

    with load_overlay("overlay/{design.name}.bit", connect()) as overlay:
        print(overlay.model.device_tag)
"""
    return {"README.txt": readme.encode(), "first_run.py": _FIRST_RUN.replace("NAME", design.name).encode()}


_FIRST_RUN = '''# SPDX-License-Identifier: Apache-2.0
"""Load the overlay, say what it is, and compare its answers with those of the integer reference."""

import sys
from pathlib import Path

import numpy as np

here = Path(__file__).resolve().parent
sys.path.insert(0, str(here))

from hls4attn.host.connect import connect  # noqa: E402
from hls4attn.host.driver import load_overlay  # noqa: E402

with load_overlay(here / "overlay" / "NAME.bit", connect()) as overlay:
    print(f"NAME on {overlay.model.device_tag}; cells: {', '.join(sorted(overlay.ip_dict))}")
    if (here / "vectors.npz").is_file():
        vectors = np.load(here / "vectors.npz", allow_pickle=False)
        answers = overlay.model.predict_codes(vectors["inputs"])
        wrong = int(np.count_nonzero((answers != vectors["outputs"]).reshape(len(answers), -1).any(axis=1)))
        print(f"{wrong}/{len(answers)} answers differ from the integer reference")
        sys.exit(1 if wrong else 0)
'''
