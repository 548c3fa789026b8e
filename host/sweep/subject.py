# SPDX-License-Identifier: Apache-2.0
"""The integer model of a point: from its file, or quantised from a float one, once for all points that share it."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hls4attn.hls.compiler import cache_dir
from hls4attn.host.paths import read_npy
from hls4attn.host.sweep.locks import one_at_a_time
from hls4attn.models.errors import InputError, SpecError, ToolError
from hls4attn.models.export.keras_stage import KEY_MODEL, require_keras
from hls4attn.models.files import read_arrays, write_arrays
from hls4attn.models.quantise.plan import QuantisePlan

if TYPE_CHECKING:
    from hls4attn.models.export.graph import Graph
    from hls4attn.models.export.keras_stage import KerasStage

#: Settings that say how a float model is quantised.
PLAN = ("score", "norm", "weight_bits", "activation_bits", "bias_bits", "residual_bits")
#: Samples that outputs of the float model are kept of, where no test set is known.
CALIBRATION_OUTPUTS = 256


@dataclass(frozen=True)
class FloatTwin:
    """Outputs of the float model that an integer one was quantised from.

    Attributes:
        inputs: some inputs.
        outputs: what it answers.
    """

    inputs: NDArray[np.float32]
    outputs: NDArray[np.float32]


@dataclass(frozen=True)
class Subject:
    """An integer model.

    Attributes:
        onnx: its file.
        archive: its Keras model, if it was quantised here.
        twin: the float model, if it was quantised here.
    """

    onnx: Path
    archive: Path | None = None
    twin: FloatTwin | None = None

    @property
    def keras(self) -> Callable[[Graph], KerasStage] | None:
        """Opens the Keras stage of a model that was quantised here."""
        if self.archive is None:
            return None
        archive = self.archive

        def stage(graph: Graph) -> KerasStage:
            from hls4attn.models.export.keras_stage import KerasStage, load_keras

            return KerasStage(graph, load_keras(archive))

        return stage


def subject(settings: Mapping[str, Any]) -> Subject:
    """The integer model of a point.

    Args:
        settings: of the point.

    Raises:
        InputError: if a file is missing on this machine, or another one than the point was planned with.
        Hls4attnError: as for `hls4attn quantise`.
    """
    model = check_file(settings, "model")
    if model.suffix != ".keras":
        return Subject(model)
    calibration = check_file(settings, "calibration") if settings.get("calibration_sha256") else None
    plan = QuantisePlan(**{name: settings[name] for name in PLAN if settings.get(name) is not None})
    source = settings.get("calibration_sha256") or settings.get("calibration") or ""
    shown = [settings["model_sha256"], source, *(str(getattr(plan, name)) for name in PLAN)]
    digest = hashlib.sha256("\0".join([_models_version(), *shown]).encode()).hexdigest()[:32]
    kept = cache_dir() / "sweep" / "models" / digest
    if not kept.is_dir():
        with one_at_a_time(f"quantise {digest}"):
            if not kept.is_dir():
                _quantise(model, calibration or str(source), plan, kept)
    arrays = read_arrays(kept / "float.npz")
    return Subject(kept / "model.onnx", kept / "model.keras", FloatTwin(arrays["inputs"], arrays["outputs"]))


def check_file(settings: Mapping[str, Any], name: str) -> Path:
    """A file of a point, on the machine where it is evaluated.

    Args:
        settings: of the point; they have its hash.
        name: of the setting.

    Raises:
        InputError: if it is missing, or not the one that the point was planned with.
    """
    path = Path(settings[name])
    remedy = "all workers read it under the same path: put it into a folder that they share"
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"The worker cannot read the {name} {path}: {error.strerror}; {remedy}") from error
    wanted = settings.get(f"{name}_sha256")
    if found != wanted:
        raise InputError(
            f"The {name} {path} is another file on the worker (SHA-256 {found[:12]}...) than in the plan "
            f"({str(wanted)[:12]}...): it was changed after the sweep began, or is not shared; {remedy}"
        )
    return path


def _models_version() -> str:
    """Hash of the sources that quantisation and export follow from."""
    digest = hashlib.sha256()
    for root in importlib.import_module("hls4attn.models").__path__:
        for path in sorted(Path(root).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _quantise(model: Path, calibration: Path | str, plan: QuantisePlan, kept: Path) -> None:
    """Quantise and export into the folder `kept`, which appears whole or not at all."""
    require_keras()
    from hls4attn.models.export.builder import save_model
    from hls4attn.models.export.keras_export import export_keras
    from hls4attn.models.export.keras_stage import load_keras
    from hls4attn.models.quantise.convert import quantise_model
    from hls4attn.models.quantise.save import save_keras

    data, inputs, zoo = _calibration(calibration)
    real = load_keras(model)
    result = quantise_model(real, data, plan)
    outputs = real.predict(inputs, verbose=0)
    with _built(kept) as folder:
        # Without the name of its archive, whose bytes hold the time: equal points give equal files.
        save_model(export_keras(result, {KEY_MODEL: zoo} if zoo else {}), folder / "model.onnx")
        save_keras(result, folder / "model.keras")
        write_arrays(folder / "float.npz", {"inputs": inputs, "outputs": np.asarray(outputs)})
        (folder / "plan.json").write_text(json.dumps({name: getattr(plan, name) for name in PLAN}) + "\n")


@contextlib.contextmanager
def _built(kept: Path) -> Iterator[Path]:
    """A folder to build in, which becomes `kept` at the end; only one process at a time does so."""
    prefix = f".{kept.name}.building-"
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        for left in kept.parent.glob(f"{prefix}*"):  # of one that was killed, for its time was over, say
            shutil.rmtree(left, ignore_errors=True)
        building = Path(tempfile.mkdtemp(dir=kept.parent, prefix=prefix))
        try:
            yield building
            building.chmod(0o755)
            building.replace(kept)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    except OSError as error:
        raise ToolError(f"Cannot write {kept}: {error.strerror}; set HLS4ATTN_CACHE") from error


def _calibration(source: Path | str) -> tuple[Any, Any, str]:
    """Calibration inputs, inputs to compare the float model on, and the zoo model that both belong to."""
    if isinstance(source, Path):
        data = read_npy(source)
        return data, data[:CALIBRATION_OUTPUTS], ""
    from hls4attn.models.zoo import zoo_model
    from hls4attn.models.zoo.sole import CALIBRATION_IMAGES

    try:
        images = zoo_model(source).load_data()
    except SpecError as error:
        raise InputError(f"calibration takes a .npy file of inputs or the name of a zoo model. {error}") from error
    return images.x_train[:CALIBRATION_IMAGES], images.x_test, source
