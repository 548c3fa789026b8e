# SPDX-License-Identifier: Apache-2.0
"""Overlays by name: built files where there are any, else made on the fly for an emulated board; no network.

`load` needs neither ONNX nor TensorFlow on a board that has the built files.
"""

from __future__ import annotations

import importlib
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hls4attn.overlays.package
from hls4attn.host.connect import chosen_board, connect, device_tag, emulated_elsewhere, is_emulated, known_name
from hls4attn.models.errors import DeviceError, InputError, ToolError
from hls4attn.models.zoo.registry import zoo_model
from hls4attn.models.zoo.vectors import SUFFIX, Vectors, read_vectors
from hls4attn.overlays.boards import load_boards
from hls4attn.overlays.design import OverlayDesign
from hls4attn.overlays.package import Package, read_package, write_package

if TYPE_CHECKING:
    from hls4attn.host.driver import ModelOverlay
    from hls4attn.host.flow import Flow

FOLDERS = "HLS4ATTN_OVERLAYS"
MAX_NAME = 60  # characters of a name: file systems and overlays take no more than 64 and what is added to it
#: Overlays that can be made here: the zoo's model and the stem of its file.
OVERLAYS = {"digits": ("digits-vit", "consmax")}
#: Overlays without a model of their own that can be made here, too: they bring their simulation.
BRING_KERNELS = ("operators", "gaincell")
_PACKAGE = Path(hls4attn.overlays.package.__file__).parent


def overlay_folders(folder: Path | str | None = None) -> list[Path]:
    """Where overlays are looked for, in this order.

    Args:
        folder: of the user; ``$XDG_DATA_HOME/hls4attn/overlays`` (``~/.local/share/...``) if None.
    """
    home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "hls4attn" / "overlays"
    named = [Path(text) for text in os.environ.get(FOLDERS, "").split(os.pathsep) if text]
    return [Path(folder) if folder is not None else home, *named, _PACKAGE]


def find_overlay(name: str, board: str, folder: Path | str | None = None) -> Package | None:
    """A built overlay, or files for the emulated board, that lie in one of `overlay_folders`.

    In each folder it may be ``<board>/<name>.bit``, the ``<name>-<board>/overlay/<name>.bit`` that a build leaves, or
    ``<name>.bit``; the ``.hwh`` and the manifest are always beside it.

    Args:
        name: of the overlay.
        board: name of the board.
        folder: of the user, searched first.

    Raises:
        ModelFileError: if the files that were found are damaged or do not belong together.
        InputError: for a folder that cannot be searched.
    """
    for root in overlay_folders(folder):
        for place in (root / board, root / f"{name}-{board}" / "overlay", root):
            manifest = place / f"{name}.json"
            try:
                there = manifest.is_file() and manifest.with_suffix(".bit").is_file()
            except OSError as error:  # a folder that may not be entered, a name that is too long
                raise InputError(f"Cannot look for overlay {name!r:.80} in {place}: {error.strerror}") from error
            if there:
                package = read_package(manifest)
                if package.design.board.name == board:
                    return package
    return None


def load(
    name: str | Path = "digits",
    board: str | None = None,
    *,
    emulated: bool | None = None,
    folder: Path | str | None = None,
    quiet: bool = False,
    model: str | None = None,
    **options: Any,
) -> ModelOverlay:
    """Connect, find an overlay and load it: the same line on a board and on a laptop.

    Args:
        name: of the overlay: "digits", "operators", "gaincell", or the ONNX file that it was built from.
        board: name of the board; the one that is there if None.
        emulated: true or false to insist on an emulated or a real board.
        folder: of the user, where overlays are looked for first.
        quiet: do not print the line that says which device it is.
        model: what an emulated board computes with, "csim" or "rtl", see `connect`.
        options: of `HlsConfig`, for an overlay that is made on the fly.

    Returns:
        The overlay, loaded; its `model` predicts.

    Raises:
        ToolError: if PYNQ is missing; for an overlay that is made on the fly also if the compiler or ONNX is.
        DeviceError: if the board is not there, or there is no overlay for it.
        InputError: if nothing of that name can be made for an emulated board.
        ModelFileError: if the files are damaged.
    """
    device = connect(board, emulated, quiet=quiet, model=model)
    from hls4attn.host.driver import load_overlay  # needs PYNQ

    here = _board_of(device, board)
    title = overlay_name(name)
    package = find_overlay(title, here, folder)
    if is_emulated(device):
        if package is None and title in BRING_KERNELS:
            package = make_overlay(title, here, **options)
        if package is not None and type(package.design) is not OverlayDesign:
            return load_overlay(package, device)  # gain cells and operators bring their simulation
        flow = overlay_flow(name, here, **options)
        flow = flow.where_rtl(options) if device.computes == "rtl" else flow
        package = package or flow.package
        if package.design.model_id != flow.model_id:
            raise DeviceError(
                f"{package.bit} holds model {package.design.model_id[:16]}..., {name} of this version is "
                f"{flow.model_id[:16]}...: remove the file, or build it again"
            )
        return load_overlay(package, device, flow.kernel(device.computes))
    if package is None or (package.emulation and not emulated_elsewhere(device)):
        places = ", ".join(map(str, overlay_folders(folder)))
        only = f"; {package.bit} only serves the emulated board" if package is not None else ""
        raise DeviceError(
            f"{device_tag(device)}: no built overlay {title!r} for {here} in {places}{only}. Build it with "
            f"hls4attn build, then put its files there or name their folder in {FOLDERS}"
        )
    return load_overlay(package, device)


def identifier(name: str) -> str:
    """A name as overlays and folders take it: ASCII letters, digits and underscores, a letter first."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return (plain if plain[:1].isalpha() else f"m_{plain}")[:MAX_NAME]


def overlay_name(name: str | Path) -> str:
    """Name of an overlay's files: as it is, or from the name of a model file."""
    path = Path(name)
    return identifier(path.stem) if path.suffix == ".onnx" else str(name)


def overlay_flow(name: str | Path, board: str, **options: Any) -> Flow:
    """The way from a model to an overlay, in streaming form at the smallest reuse factor that fits the board.

    Args:
        name: of the overlay, one of `OVERLAYS`, or an ONNX file.
        board: name of the board.
        options: of `HlsConfig`, in place of that choice.

    Raises:
        InputError: for an unknown name.
        ToolError: if ONNX is not installed.
        ModelFileError: if the file is no valid model.
        UnsupportedError: if it has no exact integer meaning, or fits no board.
    """
    if Path(name).suffix != ".onnx" and str(name) not in OVERLAYS:
        known = ", ".join((*OVERLAYS, *BRING_KERNELS))
        raise InputError(f"No overlay {str(name)!r:.80} can be made here; known: {known}, or an ONNX file")
    _require_models()
    from hls4attn.hls.config import HlsConfig
    from hls4attn.host.flow import Flow
    from hls4attn.overlays.boards import board as find_board

    config = HlsConfig(**{"part": find_board(board).part, "io_type": "io_stream", **options})
    flow = Flow.open(model_file(name), board=board, config=config, fitted="reuse_factor" not in options)
    return replace(flow, name=overlay_name(name))


def model_file(name: str | Path) -> Path:
    """The ONNX file of an overlay; it need not be there."""
    if str(name) not in OVERLAYS:
        return Path(name)
    zoo, stem = OVERLAYS[str(name)]
    return zoo_model(zoo).folder / f"{stem}.onnx"


def vectors_of(model_id: str) -> Vectors | None:
    """Test vectors that ship with the package for a model, if there are any.

    Args:
        model_id: SHA-256 of the model file, in hexadecimal.
    """
    for name in OVERLAYS:
        path = model_file(name)
        if path.with_name(path.stem + SUFFIX).is_file():
            vectors = read_vectors(path)
            if vectors.model_id == model_id:
                return vectors
    return None


def make_overlay(name: str, board: str, folder: Path | None = None, **options: Any) -> Package:
    """Write the files of one of `BRING_KERNELS` for an emulated board.

    Args:
        name: of the overlay.
        board: name of the board.
        folder: where to; in the cache if None.
        options: of `HlsConfig`.

    Raises:
        ToolError: if ONNX is not installed.
        InputError: for an option that would change nothing.
    """
    _require_models()
    from hls4attn.hls.compiler import cache_dir
    from hls4attn.hls.config import HlsConfig
    from hls4attn.host.building.plans import CHOICES, make_plan
    from hls4attn.overlays.boards import board as find_board

    if useless := sorted(set(options) - CHOICES[name]):
        raise InputError(f"The overlay {name} takes no choice of {', '.join(useless)}; leave it out")
    config = HlsConfig(**{"part": find_board(board).part, "io_type": "io_stream", **options})
    design = make_plan(name, None, board, config, fitted=False).design
    place = cache_dir() / "overlays" / f"{design.name}-{design.model_id[:12]}-{design.clock_mhz:g}-{board}"
    return write_package(design, folder or place)


def _require_models() -> None:
    """Refuse where no model can be read.

    Raises:
        ToolError: if ONNX is not installed.
    """
    try:
        importlib.import_module("onnx")
    except ModuleNotFoundError as error:
        raise ToolError(
            "An overlay for an emulated board is made from its model, which needs onnx. Install it with: "
            'pip install "hls4attn[convert]"'
        ) from error


def _board_of(device: Any, board: str | None) -> str:
    """Name of the board to find an overlay for."""
    found = device.name if is_emulated(device) else known_name(device) or board
    if found is None:
        known = ", ".join(sorted(load_boards()))
        raise DeviceError(f"{device_tag(device)} does not say which board it is; name it: {known}")
    return chosen_board(found)
