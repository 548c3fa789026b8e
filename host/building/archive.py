# SPDX-License-Identifier: Apache-2.0
"""One archive with a built overlay and our host code, for a board without network.

It needs nothing but what a PYNQ image brings (Python, numpy, pynq)::

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
from hls4attn.models.files import atomic_write
from hls4attn.overlays.building.finish import RECORD
from hls4attn.overlays.design import OverlayDesign
from hls4attn.overlays.package import Package

CODE = ("models", "overlays", "host")
#: Code, small tables and test vectors; no weights, no notebooks.
ENDS = (".py", ".toml", ".typed", "_vectors.npz")
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # equal content gives equal archives


def write_archive(
    package: Package, record: Mapping[str, Any], folder: Path, extra: Mapping[str, bytes] | None = None
) -> Path:
    """Write the archive of a built overlay.

    Args:
        package: the overlay.
        record: the content of ``build.json``.
        folder: of the build.
        extra: further files, by their path in the archive.

    Returns:
        ``<name>-<board>.zip`` in the folder.

    Raises:
        ModelFileError: if it cannot be written.
    """
    design = package.design
    archive = folder / f"{design.name}-{design.board.name}.zip"
    contents = {f"overlay/{path.name}": path.read_bytes() for path in (package.bit, package.hwh, package.manifest)}
    contents[RECORD] = (json.dumps(record, indent=2) + "\n").encode()
    atomic_write(archive, pack(archive.stem, {**contents, **host_code(), **_notes(design, record), **(extra or {})}))
    return archive


def host_code() -> dict[str, bytes]:
    """The Python that drives a board, by its path in the archive."""
    root = Path(models.__file__).resolve().parent.parent  # of a wheel or of the sources: the same folders
    found = {}
    for part in CODE:
        place = root / part
        for path in sorted(p for p in place.rglob("*") if p.name.endswith(ENDS) and "__pycache__" not in p.parts):
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


def _notes(design: OverlayDesign, record: Mapping[str, Any]) -> dict[str, bytes]:
    """How to use the archive, and the first thing to run."""
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

import os
import sys
from pathlib import Path

import numpy as np

here = Path(__file__).resolve().parent
sys.path.insert(0, str(here))

from hls4attn.host.connect import connect  # noqa: E402
from hls4attn.host.driver import load_overlay  # noqa: E402
from hls4attn.models.errors import Hls4attnError  # noqa: E402


def main():
    """Returns how many answers differ."""
    # Without a board this says so: a bitstream is of no use to an emulated one, unless somebody asks for it.
    emulated = bool(os.environ.get("HLS4ATTN_EMULATED_BOARD"))
    with load_overlay(here / "overlay" / "NAME.bit", connect(emulated=emulated)) as overlay:
        return compare(overlay)


def compare(overlay):
    """Run the vectors, if there are any."""
    print(f"NAME on {overlay.model.device_tag}; cells: {', '.join(sorted(overlay.ip_dict))}")
    total = 0
    if (here / "vectors.npz").is_file():
        vectors = np.load(here / "vectors.npz", allow_pickle=False)
        for key in (key for key in vectors.files if key.endswith("inputs")):
            name = key[: -len("inputs")].rstrip(".")  # of an operator; a model has none
            codes = vectors[key]
            answers = np.asarray(overlay.model.run(name, codes) if name else overlay.model.predict_codes(codes))
            wrong = (answers != vectors[key[: -len("inputs")] + "outputs"]).reshape(len(answers), -1).any(axis=1)
            print(f"{name or 'NAME'}: {np.count_nonzero(wrong)}/{len(wrong)} answers differ from the integer reference")
            total += np.count_nonzero(wrong)
    return total


try:
    sys.exit(1 if main() else 0)
except Hls4attnError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(error.exit_code)
'''
