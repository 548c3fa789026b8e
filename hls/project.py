# SPDX-License-Identifier: Apache-2.0
"""Converting a model to an hls4ml project that is written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from hls4attn.hls import include_dir
from hls4attn.hls.bridge import bridge_cpp
from hls4attn.hls.config import HlsConfig
from hls4attn.hls.csim import Interface
from hls4attn.hls.plugin import hls4ml_version, register
from hls4attn.hls.writer import write_hls4ml
from hls4attn.models.errors import ModelFileError, UnsupportedError
from hls4attn.models.files import write_json

if TYPE_CHECKING:
    import onnx

    from hls4attn.hls.design import Design

RECORD = "hls4attn.json"
SCHEMA = 1


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
        """Folders with the headers that the project was written with."""
        firmware = self.path / "firmware"
        return (firmware, firmware / "nnet_utils", firmware / "ap_types")

    @property
    def log(self) -> Path:
        """What hls4ml printed."""
        return self.path / "convert.log"


def convert(model: Path | str | onnx.ModelProto, out_dir: Path | str, config: HlsConfig | None = None) -> Project:
    """Write the hls4ml project of an exported model.

    Converting the same model with the same configuration again finds the finished project.  A project that is
    there already stays as it is until the new one is complete.

    Args:
        model: the exported ONNX file, or the model itself.
        out_dir: folder of the project; made if missing.
        config: choices; the defaults if not given.

    Raises:
        ModelFileError: if the model is no valid ONNX, or `out_dir` holds something else than a project.
        UnsupportedError: naming the node or key that has no exact hardware.
        ToolError: if hls4ml is missing, of another version, or fails.
    """
    config = config or HlsConfig()
    out = Path(out_dir).absolute()
    data = _model_bytes(model)
    digest = _digest(data, config)
    finished = _finished(out)
    if finished is not None and finished.digest == digest and _unchanged(finished):
        return Project(finished.path, finished.config, digest, finished.interface, cached=True)
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
    found = _finished(out)
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
    """Hash of all that a project follows from: model, choices, our sources, hls4ml."""
    digest = hashlib.sha256(hls4ml_version().encode())
    digest.update(json.dumps(config.to_dict(), sort_keys=True).encode())
    folder = include_dir()
    for path in (*sorted(folder.glob("*.h")), *sorted(folder.parent.glob("*.py"))):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    digest.update(data)
    return digest.hexdigest()


def _finished(out: Path) -> Project | None:
    """The project at `out`; None if there is none that this version can use.

    Raises:
        ModelFileError: if `out` is something else, which must not be replaced.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    try:
        record = json.loads((out / RECORD).read_text(encoding="utf-8"))
        digest = str(record["digest"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelFileError(
            f"{out} is not a project of this package (no readable {RECORD}); choose another folder or remove it"
        ) from error
    try:
        return Project(out, HlsConfig.from_dict(record["config"]), digest, Interface.from_dict(record["interface"]))
    except (ValueError, KeyError, TypeError):
        return None  # ours, of a version whose record said something else: to be written anew


def _sources(path: Path) -> dict[str, str]:
    """Hashes of the generated files that decide what the project computes."""
    files = [*(path / "firmware").glob("*.*"), *(path / "firmware" / "nnet_utils").glob("attn_*.h")]
    files += [path / "csim" / "bridge.cpp", path / "lowered.onnx"]
    return {
        str(f.relative_to(path)): hashlib.sha256(f.read_bytes()).hexdigest()
        for f in sorted(files)
        if f.suffix in (".h", ".cpp", ".onnx")
    }


def _unchanged(project: Project) -> bool:
    """Whether nobody edited or removed the generated files."""
    record = json.loads((project.path / RECORD).read_text(encoding="utf-8"))
    try:
        return bool(record.get("sources") == _sources(project.path))
    except OSError:
        return False


def _build(data: bytes, folder: Path, out: Path, config: HlsConfig, digest: str) -> Project:
    """Everything in `folder`, as it will be at `out`."""
    from hls4attn.hls.hwfile import to_onnx  # onnx is imported on a cache miss only
    from hls4attn.hls.lowering import lower_graph
    from hls4attn.models.export.reader import read_graph

    (folder / "model.onnx").write_bytes(data)
    design = lower_graph(read_graph(folder / "model.onnx"))
    _check_layer_names(design, config)
    (folder / "lowered.onnx").write_bytes(to_onnx(design).SerializeToString(deterministic=True))
    register()
    input_t, output_t = write_hls4ml(design, folder, config, digest)
    # hls4ml records where it wrote; the project is about to move.
    yml = folder / "hls4ml_config.yml"
    yml.write_text(yml.read_text().replace(str(folder), str(out)))
    interface = Interface.of(design)
    top = bridge_cpp(
        f"../firmware/{config.project_name}.cpp",
        config.project_name,
        input_t,
        output_t,
        prod(interface.input.shape),
        prod(interface.output.shape),
    )
    (folder / "csim").mkdir()
    (folder / "csim" / "bridge.cpp").write_text(top)
    record = {
        "schema": SCHEMA,
        "digest": digest,
        "config": config.to_dict(),
        "hls4ml": hls4ml_version(),
        "interface": interface.to_dict(),
        "nodes": [n.to_dict() for n in design.nodes],
        "sources": _sources(folder),
    }
    write_json(folder / RECORD, record)
    return Project(out, config, digest, interface)


def _check_layer_names(design: Design, config: HlsConfig) -> None:
    unknown = sorted(set(config.layer_reuse_factor) - {n.name for n in design.nodes})
    if unknown:
        raise UnsupportedError(
            f"layer_reuse_factor names {unknown}, which are not hardware nodes of this model; it has: "
            + ", ".join(n.name for n in design.nodes)
        )


def _swap(building: Path, out: Path) -> None:
    """Put a complete project in place; the old one returns if that fails or is interrupted."""
    building.chmod(0o755)
    old = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.old-"))
    try:
        if out.exists():
            out.replace(old / "project")
        building.replace(out)
    except OSError as error:
        raise ModelFileError(f"Cannot write {out}: {error.strerror}") from error
    finally:
        if (old / "project").exists() and not out.exists():
            (old / "project").replace(out)
        shutil.rmtree(old, ignore_errors=True)
