# SPDX-License-Identifier: Apache-2.0
"""An overlay on disk: `name.bit`, `name.hwh` and the manifest `name.json`, written and read as one.

The manifest holds the design and the SHA-256 of the other two files, so that a mixture of two overlays, a
truncated file or a foreign one is found when it is read and not on the board.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from hls4attn.models.errors import DeviceError, ModelFileError
from hls4attn.overlays import bitfile, hwh, hwh_check, strict
from hls4attn.overlays.design import MAX_JSON_BYTES, OverlayDesign
from hls4attn.overlays.gaincell import GainCellDesign
from hls4attn.overlays.operators import OperatorsDesign

KIND = "hls4attn-overlay"
VERSION = 1
_SPECIAL: tuple[type[OverlayDesign], ...] = (GainCellDesign, OperatorsDesign)


@dataclass(frozen=True)
class Package:
    """A complete overlay on disk.

    Args:
        design: what the overlay is.
        bit: the bitstream, or the emulation file in its place.
        hwh: the hardware handoff beside it.
        manifest: the JSON file beside them.
        emulation: whether `bit` only serves the emulated board.
    """

    design: OverlayDesign
    bit: Path
    hwh: Path
    manifest: Path
    emulation: bool


def write_package(
    design: OverlayDesign, folder: Path | str, *, bit: bytes | None = None, handoff: bytes | None = None
) -> Package:
    """Write the three files of an overlay; all or none.

    Args:
        design: the overlay.
        folder: where to; made if it is not there.
        bit: a bitstream built by Vivado for this design.  Without it, the files are for the emulated board.
        handoff: the `.hwh` of that build; both or neither.

    Raises:
        ModelFileError: if `bit` and `handoff` are not of this design, or only one is given.
        DeviceError: if the folder cannot be written; files already there are as they were.
    """
    if (bit is None) != (handoff is None):
        raise ModelFileError("A built overlay needs both its bitstream and its handoff; only one was given")
    handoff = hwh.build_hwh(design) if handoff is None else handoff
    bit = bitfile.build_bit(design, _sha256(handoff)) if bit is None else bit
    target = Path(folder) / design.name
    package = _package(design, target)
    digests = {"bit": _sha256(bit), "hwh": _sha256(handoff)}
    emulation = _check(design, bit, handoff, digests, target)
    manifest = {"kind": KIND, "version": VERSION, "design": design.to_dict(), "sha256": digests}
    text = json.dumps(manifest, indent=2) + "\n"
    # The manifest goes last: until it is there, the new files do not match the old one and are refused.
    files = {package.bit: bit, package.hwh: handoff, package.manifest: text.encode()}
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _replace_all(files)
    except OSError as error:
        raise DeviceError(f"{target.parent}: overlay {design.name!r} not written: {error}") from error
    return replace(package, emulation=emulation)


def read_package(path: Path | str) -> Package:
    """Read an overlay and check that its three files belong together.

    Args:
        path: the `.bit`, the `.hwh` or the manifest of an overlay, or a folder that holds exactly one.

    Raises:
        ModelFileError: if a file is missing, truncated, foreign or of another overlay.
    """
    stem = _stem(Path(path))
    manifest = stem.with_suffix(".json")
    where = str(manifest)
    data = strict.parse_json(strict.read_bytes(manifest, MAX_JSON_BYTES), where)
    if isinstance(data, dict) and (data.get("kind"), data.get("version")) != (KIND, VERSION):
        raise ModelFileError(
            f"{where}: not the manifest of an overlay of version {VERSION}. "
            f"Received: kind={data.get('kind')!r:.60}, version={data.get('version')!r:.20}"
        )
    kinds: dict[str, strict.Kind] = {"kind": str, "version": int, "design": dict, "sha256": dict}
    data = strict.fields(data, where, kinds)
    digests = strict.fields(data["sha256"], f"{where}: sha256", {"bit": str, "hwh": str})
    kind = next((special for special in _SPECIAL if special.kind == data["design"].get("kind")), OverlayDesign)
    design = kind.from_dict(data["design"], f"{where}: design")
    if design.name != stem.name:
        raise ModelFileError(f"{where}: describes {design.name!r}; an overlay's files carry its name")
    package = _package(design, stem)
    bit = strict.read_bytes(package.bit, bitfile.MAX_BYTES)
    handoff = strict.read_bytes(package.hwh, hwh.MAX_BYTES)
    emulation = _check(design, bit, handoff, digests, stem)
    return replace(package, emulation=emulation)


def _stem(path: Path) -> Path:
    """Path of the overlay's files without their suffix."""
    if not path.is_dir():
        if path.suffix not in (".bit", ".hwh", ".json"):
            raise ModelFileError(f"{path}: no such folder, and not a .bit, .hwh or .json file")
        return path.with_suffix("")
    found = sorted(p for p in path.glob("*.bit") if p.is_file())
    if len(found) != 1:
        names = ", ".join(p.name for p in found) or "none"
        raise ModelFileError(f"{path}: expected exactly one .bit; found: {names}. Name the file instead")
    return found[0].with_suffix("")


def _package(design: OverlayDesign, stem: Path) -> Package:
    bit, handoff, manifest = (stem.with_name(stem.name + suffix) for suffix in (".bit", ".hwh", ".json"))
    return Package(design, bit, handoff, manifest, emulation=False)


def _check(design: OverlayDesign, bit: bytes, handoff: bytes, digests: dict[str, str], stem: Path) -> bool:
    """Check the contents against the design and the digests; returns whether it is an emulation file."""
    for suffix, content in (("bit", bit), ("hwh", handoff)):
        if _sha256(content) != digests[suffix]:
            raise ModelFileError(
                f"{stem}.{suffix}: changed since its manifest {stem.name}.json was written "
                "(truncated, or of another overlay). Write the overlay again"
            )
    header = bitfile.parse_bit(bit, f"{stem}.bit")
    if not bitfile.same_part(header.part, design.board):
        raise ModelFileError(f"{stem}.bit: made for {header.part}, the design for {design.board.part}")
    if header.emulation and header.hwh_digest != digests["hwh"]:
        raise ModelFileError(f"{stem}.bit: made with another {stem.name}.hwh. Write the overlay again")
    if header.emulation and header.model_id != design.model_id:
        raise ModelFileError(
            f"{stem}.bit: holds model {header.model_id[:16]}..., its manifest says {design.model_id[:16]}..."
        )
    hwh_check.check_hwh(hwh.parse_hwh(handoff, f"{stem}.hwh"), design, f"{stem}.hwh")
    return header.emulation


def _replace_all(files: dict[Path, bytes]) -> None:
    """Replace files so that a failure leaves every one as it was."""
    folder = next(iter(files)).parent
    with tempfile.TemporaryDirectory(prefix=".hls4attn-", dir=folder) as temporary:
        fresh = {path: Path(temporary) / path.name for path in files}
        backup = {path: Path(temporary) / f"{path.name}.old" for path in files}
        for path, content in files.items():
            with fresh[path].open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        for path in files:
            if path.exists():
                shutil.copy2(path, backup[path])
        try:
            for path in files:
                fresh[path].replace(path)
        except BaseException:
            for path in files:
                if fresh[path].exists():
                    continue  # not reached
                if backup[path].exists():
                    backup[path].replace(path)
                else:
                    with suppress(OSError):
                        path.unlink()
            raise


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
