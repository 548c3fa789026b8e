# SPDX-License-Identifier: Apache-2.0
"""Converting a model to an hls4ml project that is written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hls4attn.hls import include_dir, sim_dir
from hls4attn.hls.bridge import bridge_cpp, stream_bridge_cpp
from hls4attn.hls.compiler import cache_dir
from hls4attn.hls.config import HlsConfig
from hls4attn.hls.csim import Interface
from hls4attn.hls.design import further_folders
from hls4attn.hls.plugin import hls4ml_version, register
from hls4attn.hls.writer import write_hls4ml
from hls4attn.models import errors
from hls4attn.models.errors import ModelFileError
from hls4attn.models.files import write_json

if TYPE_CHECKING:
    import onnx

RECORD = "hls4attn.json"
KIND = "hls4attn-project"
SCHEMA = 3
#: What a record holds, so that no other file of its name passes for one.
_FIELDS = {
    "schema": int,
    "digest": str,
    "config": dict,
    "hls4ml": str,
    "interface": dict,
    "nodes": list,
    "sources": dict,
}
#: Files of a project that say how it came about, and those that later steps put into it: nobody's work.
_BESIDE = frozenset((RECORD, "convert.log", "csim/bridge.log", "made.json", "verification.json"))
_OVERLAY = "overlay"
_DECISIVE = (".h", ".cpp", ".onnx")
#: What a project follows from in this package, and what reading a model follows from in the models package.
_WRITING = ("nnet/*.h", "sim/*.h", "*.py", "stream/*.py")
_READING = ("formats.py", "operators/*.py", "export/graph.py", "export/infer.py", "export/reader.py")


@dataclass(frozen=True)
class Project:
    """A finished project on disk.

    Attributes:
        path: its folder.
        config: what it was made with.
        digest: hash of everything it was made from.
        interface: its ports and what a trace shows.
        cached: whether `convert` found it finished.
    """

    path: Path
    config: HlsConfig
    digest: str
    interface: Interface
    cached: bool = False

    @property
    def model(self) -> Path:
        """The exported model it was made from."""
        return self.path / "model.onnx"

    @property
    def lowered(self) -> Path:
        """The lowered model that hls4ml read."""
        return self.path / "lowered.onnx"

    @property
    def bridge(self) -> Path:
        """The simulation's one translation unit."""
        return self.path / "csim" / "bridge.cpp"

    @property
    def include_dirs(self) -> tuple[Path, ...]:
        """Folders with the headers that the project was written with; the simulation's own come before the vendor's."""
        firmware = self.path / "firmware"
        return (self.path / "csim", firmware, firmware / "nnet_utils", firmware / "ap_types")

    @property
    def log(self) -> Path:
        """What hls4ml printed."""
        return self.path / "convert.log"


def convert(model: Path | str | onnx.ModelProto, out_dir: Path | str, config: HlsConfig | None = None) -> Project:
    """Write the hls4ml project of an exported model.

    Converting the same model with the same configuration again finds the finished project.  A project that is
    there already stays as it is until the new one is complete; it is not replaced at all if it holds files that
    were added or edited by hand, unless it is in the cache.

    Args:
        model: the exported ONNX file, or the model itself.
        out_dir: folder of the project; made if missing.
        config: choices; the defaults if not given.

    Raises:
        ModelFileError: if the model is no valid ONNX, `out_dir` holds something else than an untouched project,
            or cannot be written.
        UnsupportedError: naming the node or key that has no exact hardware.
        ToolError: if hls4ml is missing, of another version, or fails.
    """
    config = config or HlsConfig()
    out = Path(out_dir).absolute()
    data = _model_bytes(model)
    digest = _digest(data, config)
    ours = out.is_relative_to(cache_dir().absolute() / "projects")
    with _writing(out):
        record = _record(out, required=not ours)
        finished = _finished(out, record)
        if record is not None:
            added, changed = _touched(out, record["sources"])
            decisive = [name for name in changed if name.endswith(_DECISIVE)]
            if finished is not None and finished.digest == digest and not decisive:
                return Project(finished.path, finished.config, digest, finished.interface, cached=True)
            if not ours:
                _check_replaceable(out, [*added, *(name for name in changed if (out / name).exists())])
        out.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.building-"))
        try:
            project = _build(data, building, out, config, digest)
            _swap(building, out)
        finally:
            shutil.rmtree(building, ignore_errors=True)
        return project


def open_project(path: Path | str) -> Project:
    """A project that `convert` finished earlier.

    Raises:
        ModelFileError: if there is none at `path`.
    """
    out = Path(path).absolute()
    found = _finished(out, _record(out))
    if found is None:
        raise ModelFileError(f"No project of this version at {out}; convert a model first")
    return found


def _model_bytes(model: Path | str | onnx.ModelProto) -> bytes:
    if isinstance(model, Path | str):
        try:
            return Path(model).read_bytes()
        except OSError as error:
            raise ModelFileError(f"Cannot read model {model}: {error.strerror}") from error
    return bytes(model.SerializeToString(deterministic=True))


def _digest(data: bytes, config: HlsConfig) -> str:
    """Hash of all that a project follows from: model, choices, our sources and those that read models, hls4ml."""
    digest = hashlib.sha256(hls4ml_version().encode())
    digest.update(json.dumps(config.to_dict(), sort_keys=True).encode())
    for root, patterns in ((include_dir().parent, _WRITING), (Path(errors.__file__).parent, _READING)):
        for path in (path for pattern in patterns for path in sorted(root.glob(pattern))):
            digest.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes())
    for folder in further_folders():  # what another package registered: its headers, and the rules beside them
        for path in sorted(p for p in folder.iterdir() if p.suffix in (".h", ".py")):
            digest.update(f"{path.name}\0".encode() + path.read_bytes())
    digest.update(data)
    return digest.hexdigest()


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Turns what the file system refuses into one line."""
    try:
        yield
    except OSError as error:
        cached = out.is_relative_to(cache_dir().absolute())
        remedy = "set HLS4ATTN_CACHE to a folder that can be written" if cached else "choose another --out"
        raise ModelFileError(f"Cannot write {out}: {error.strerror or error}; {remedy}") from error


def _record(out: Path, *, required: bool = True) -> dict[str, Any] | None:
    """The record of the project at `out`; None if nothing is there, or no record is required.

    Raises:
        ModelFileError: if `out` is something else, which must not be replaced.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    try:
        record = json.loads((out / RECORD).read_text(encoding="utf-8"))
        if not isinstance(record, dict) or record.get("kind") != KIND:
            raise ValueError(f"not of kind {KIND}")
        if wrong := [name for name, kind in _FIELDS.items() if not isinstance(record.get(name), kind)]:
            raise ValueError(f"without {', '.join(wrong)}")
    except (OSError, ValueError) as error:
        if not required:
            return None
        raise ModelFileError(
            f"{out} is not a project of this package (no complete {RECORD}); choose another --out, or remove it"
        ) from error
    return record


def _finished(out: Path, record: Mapping[str, Any] | None) -> Project | None:
    """The project of a record; None if there is none, or this version cannot use it."""
    if record is None or record["schema"] != SCHEMA:
        return None
    try:
        config, interface = HlsConfig.from_dict(record["config"]), Interface.from_dict(record["interface"])
    except (ValueError, KeyError, TypeError):
        return None  # of a version whose record said something else: to be written anew
    return Project(out, config, record["digest"], interface)


def _files(path: Path) -> list[str]:
    """Names of a project's files, but for those of later steps."""
    found = (f for f in path.rglob("*") if f.is_symlink() or not f.is_dir())
    names = (f.relative_to(path) for f in found)
    return sorted(n.as_posix() for n in names if n.parts[0] != _OVERLAY and n.as_posix() not in _BESIDE)


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""


def _touched(path: Path, recorded: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Files that were added to a project, and those of it that were edited or removed."""
    added = [name for name in _files(path) if name not in recorded]
    return added, [name for name in recorded if _hash(path / name) != recorded[name]]


def _check_replaceable(out: Path, touched: list[str]) -> None:
    """Whether replacing the project loses nobody's work.

    Raises:
        ModelFileError: if it holds files that were added or edited.
    """
    if touched:
        names = ", ".join(touched[:3]) + (f" and {len(touched) - 3} more" if len(touched) > 3 else "")
        raise ModelFileError(
            f"{out} holds files that were added or edited by hand: {names}; choose another --out, or remove the folder"
        )


def _build(data: bytes, folder: Path, out: Path, config: HlsConfig, digest: str) -> Project:
    """Everything in `folder`, as it will be at `out`."""
    from hls4attn.hls.hwfile import lower_design, to_onnx  # onnx is imported on a cache miss only
    from hls4attn.models.export.reader import read_graph

    (folder / "model.onnx").write_bytes(data)
    design = lower_design(read_graph(folder / "model.onnx"), config)
    (folder / "lowered.onnx").write_bytes(to_onnx(design).SerializeToString(deterministic=True))
    register()
    types = write_hls4ml(design, folder, config, digest)
    # hls4ml records where it wrote; the project is about to move.
    yml = folder / "hls4ml_config.yml"
    yml.write_text(yml.read_text().replace(str(folder), str(out)))
    interface = Interface.of(design)
    (folder / "csim").mkdir()
    source = f"../firmware/{config.project_name}.cpp"
    if config.io_type == "io_stream":
        bridge = stream_bridge_cpp(source, config.project_name, *types, design)
        for header in sim_dir().glob("*.h"):
            shutil.copy(header, folder / "csim")
    else:
        sizes = prod(interface.input.shape), prod(interface.output.shape)
        bridge = bridge_cpp(source, config.project_name, *types, *sizes)
    (folder / "csim" / "bridge.cpp").write_text(bridge)
    record = {
        "kind": KIND,
        "schema": SCHEMA,
        "digest": digest,
        "config": config.to_dict(),
        "hls4ml": hls4ml_version(),
        "interface": interface.to_dict(),
        "nodes": [n.to_dict() for n in design.nodes],
        "sources": {name: _hash(folder / name) for name in _files(folder)},
    }
    write_json(folder / RECORD, record)
    return Project(out, config, digest, interface)


def _swap(building: Path, out: Path) -> None:
    """Put a complete project in place; the old one returns if that fails or is interrupted."""
    building.chmod(0o755)
    old = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.old-"))
    try:
        if out.exists():
            out.replace(old / "project")
        building.replace(out)
    finally:
        if (old / "project").exists() and not out.exists():
            (old / "project").replace(out)
        shutil.rmtree(old, ignore_errors=True)
