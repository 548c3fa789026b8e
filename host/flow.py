# SPDX-License-Identifier: Apache-2.0
"""From a model file to project, overlay and stages: what the command line and the notebooks share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from hls4attn.host.connect import chosen_board
from hls4attn.host.cycle_kernel import Clocked, CountedKernel, CycleKernel
from hls4attn.host.library import find_overlay, identifier
from hls4attn.host.pynq_compat import import_pynq
from hls4attn.models.errors import InputError, ToolError
from hls4attn.models.export.graph import Graph
from hls4attn.models.export.keras_stage import KEY_WEIGHTS, KerasStage, keras_stage, require_keras
from hls4attn.models.export.reader import load_model, read_graph
from hls4attn.models.export.stages import OnnxRuntimeStage, QonnxStage, ReferenceEvaluatorStage, Stage
from hls4attn.models.formats import Codes

if TYPE_CHECKING:
    from hls4attn.hls.config import HlsConfig
    from hls4attn.hls.csim import CSim
    from hls4attn.hls.project import Project
    from hls4attn.host.rtl_network import RtlNetworkStage
    from hls4attn.host.rtl_stage import RtlOperatorStage
    from hls4attn.overlays.design import OverlayDesign
    from hls4attn.overlays.package import Package

    RtlStage = RtlNetworkStage | RtlOperatorStage

STAGES = ("keras", "onnx", "qonnx", "onnxruntime", "csim", "rtl", "netlist", "board")
#: Stages that run only if they are asked for: they take long, or tools that not everybody has.
ON_REQUEST = ("rtl", "netlist")


@dataclass(frozen=True, eq=False)
class Flow:
    """One model on its way to a board.

    Args:
        name: of project and overlay.
        model: the ONNX model.
        folder: where the project goes, or None for the cache.
        source: folder of the model file, where its Keras weights are.
        keras: opens the Keras stage, if not from `source`.
        rtl: makes the stage of the streaming unit, or of its netlist, if the model is one operator.
        board: board name; `chosen_board` if not given.
        config: conversion options.
        fitted: whether the smallest reuse factor that fits the board replaces that of `config` (io_stream only).
    """

    name: str
    model: onnx.ModelProto
    folder: Path | None = None
    source: Path | None = None
    keras: Callable[[Graph], KerasStage] | None = None
    rtl: Callable[[Graph, bool], RtlStage] | None = None
    board: str = field(default_factory=chosen_board)
    config: HlsConfig | None = None
    fitted: bool = False

    @classmethod
    def open(cls, path: Path, **options: Any) -> Flow:
        """Read a model file.

        Raises:
            ModelFileError: if it is no valid ONNX file.
            UnsupportedError: if it has no exact integer meaning.
        """
        path = Path(path)
        flow = cls(path.stem, load_model(path), source=path.parent, **options)
        _ = flow.graph
        return flow

    @cached_property
    def graph(self) -> Graph:
        """The typed graph."""
        return read_graph(self.model)

    @cached_property
    def model_id(self) -> str:
        """SHA-256 of the model."""
        return hashlib.sha256(self.model.SerializeToString(deterministic=True)).hexdigest()

    @cached_property
    def identifier(self) -> str:
        """The name as overlays and folders take it: ASCII letters, digits and underscores, a letter first."""
        return identifier(self.name)

    @cached_property
    def settings(self) -> HlsConfig:
        """Conversion options: those given, or the board's.

        Raises:
            UnsupportedError: if the reuse factor is to be chosen, and none fits the board.
        """
        from hls4attn.hls.config import HlsConfig
        from hls4attn.hls.fit import auto_reuse
        from hls4attn.hls.lowering import lower_graph
        from hls4attn.hls.stream.network import to_stream
        from hls4attn.host.estimate import capacity
        from hls4attn.overlays.boards import board

        target = board(self.board)
        config = self.config or HlsConfig(part=target.part)
        if not self.fitted or config.io_type != "io_stream":
            return config
        plain = lower_graph(self.graph)
        return replace(config, reuse_factor=auto_reuse(lambda c: to_stream(plain, c), config, capacity(target)))

    @cached_property
    def project(self) -> Project:
        """The HLS project; converted now unless it is there already."""
        from hls4attn.hls.compiler import cache_dir
        from hls4attn.hls.project import convert

        name = f"{self.identifier}-{self.model_id[:12]}-{self.board}-{self.settings.io_type}"
        return convert(self.model, self.folder or cache_dir() / "projects" / name, self.settings)

    @cached_property
    def csim(self) -> CSim:
        """The compiled C simulation."""
        from hls4attn.hls.csim import CSim

        return CSim(self.project)

    @cached_property
    def design(self) -> OverlayDesign:
        """The overlay's description."""
        from hls4attn.overlays.boards import board
        from hls4attn.overlays.design import OverlayDesign
        from hls4attn.overlays.ports import StreamPort

        graph = self.graph
        return OverlayDesign(
            name=self.identifier,
            board=board(self.board),
            clock_mhz=1000 / self.settings.clock_period_ns,
            model_id=self.model_id,
            input=StreamPort(graph.input.shape, graph.input.format),
            output=StreamPort(graph.output.shape, graph.output.format),
        )

    @cached_property
    def package(self) -> Package:
        """The overlay's files, written beside the project."""
        from hls4attn.overlays.package import write_package

        return write_package(self.design, self.project.path / "overlay" / self.board)

    def kernel(self, model: str = "csim") -> CycleKernel | CountedKernel:
        """What the emulated IP computes.

        Args:
            model: "csim": the C simulation of the converted model, and the cycles of its design; "rtl": its Verilog,
                which counts them.

        Raises:
            UnsupportedError: if there is no Verilog of it.
        """
        if model == "rtl":
            stage = self._packet_stage()
            return CountedKernel(lambda: stage, stage.cycles_are)
        from hls4attn.hls.axis import cycles_of

        cycles = cycles_of(self.project)
        return CycleKernel(self.csim.run, cycles, "by the cycle model of the design and its adaptors, not measured")

    @cached_property
    def built(self) -> Package | None:
        """The overlay of this model and board with a bitstream, where one lies in one of `overlay_folders`."""
        found = find_overlay(self.identifier, self.board)
        return found if found and not found.emulation and found.design.model_id == self.model_id else None

    @contextmanager
    def on_board(self, model: str | None = None) -> Iterator[Any]:
        """The loaded overlay: on the board if it is there and the overlay was built, else on the emulated one.

        Args:
            model: what an emulated board computes with, see `connect`; if given, it is one.
        """
        from hls4attn.host.connect import connect, is_emulated
        from hls4attn.host.driver import load_overlay

        real = model is None and self.built is not None
        device = connect(self.board, emulated=None if real else True, quiet=True, model=model)
        emulated = is_emulated(device)
        package = self.package if emulated or self.built is None else self.built
        kernel = self.kernel(device.computes) if emulated else None
        with load_overlay(package, device, kernel) as overlay:
            yield overlay

    def stage(self, name: str) -> AbstractContextManager[Stage]:
        """Open one stage of the ladder.

        Raises:
            InputError: for an unknown name.
        """
        if name not in STAGES:
            raise InputError(f"Unknown stage {name!r}; known: {', '.join(STAGES)}")
        return self._stage(name)

    @contextmanager
    def _stage(self, name: str) -> Iterator[Stage]:
        if name == "board":
            with self.on_board() as overlay:
                yield BoardStage(self.graph, overlay.model)
        elif name == "keras":
            yield self.keras_stage()
        elif name == "csim":
            yield CsimStage(self.csim)
        elif name in ON_REQUEST:
            yield self.rtl_stage(name == "netlist")
        else:
            kinds = {"onnx": ReferenceEvaluatorStage, "qonnx": QonnxStage, "onnxruntime": OnnxRuntimeStage}
            yield kinds[name](self.graph, self.model)

    def absent_stages(self) -> dict[str, str]:
        """Stages that this installation or this file cannot take part with, and why; what is there is not opened."""
        found = {}
        try:
            if self.keras is None:
                name = self.graph.metadata.get(KEY_WEIGHTS, "")
                weights = (self.source or Path()) / name
                if not name or Path(name).name != name:
                    found["keras"] = "the file does not say which Keras model it came from"
                elif not _is_file(weights):
                    found["keras"] = f"the Keras weights {weights} are not there"
            if "keras" not in found:
                require_keras()
        except ToolError as error:
            found["keras"] = str(error)
        try:
            import_pynq()
        except ToolError as error:
            found["board"] = str(error)
        return found

    def _packet_stage(self) -> Clocked:
        """The Verilog between the words of its streams; of gain cells, which are no kernel of their own, the unit."""
        if self.rtl is None or any(node.cells for node in self.graph.nodes):
            return self.rtl_stage()
        from hls4attn.host.rtl_stage import RtlPacketStage

        return RtlPacketStage(self.graph)

    def for_rtl(self) -> Flow:
        """The same, with one key at a time in attention where the number is left to us: there is RTL of no other."""
        config = self.config
        attention = any(node.spec or node.context for node in self.graph.nodes)
        if config is None or config.io_type != "io_stream" or config.lanes or not attention:
            return self
        return replace(self, config=replace(config, lanes=1))

    def keras_stage(self) -> KerasStage:
        """The Keras model behind the file.

        Raises:
            ModelFileError: if it is not there.
            ToolError: if TensorFlow is not installed.
        """
        require_keras()
        if self.keras is not None:
            return self.keras(self.graph)
        return keras_stage(self.graph, self.source or Path())

    def rtl_stage(self, netlist: bool = False) -> RtlStage:
        """The Verilog behind the file, or its netlist.

        Raises:
            UnsupportedError: if there is no Verilog of it.
            ToolError: if Verilator, a compiler or Yosys is missing or fails.
        """
        if self.rtl is not None:
            return self.rtl(self.graph, netlist)
        from hls4attn.host.rtl_network import RtlNetworkStage

        return RtlNetworkStage(self.graph, self.settings, netlist)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file can have
        return False


class CsimStage:
    """The C simulation of the converted model."""

    name = "csim"

    def __init__(self, csim: CSim) -> None:
        self._csim = csim

    def run(self, codes: Codes) -> Codes:
        """Output codes."""
        return self._csim.run(codes)

    def trace(self, codes: Codes) -> Mapping[str, Codes]:
        """Codes of every kernel's result."""
        return self._csim.trace(codes)


class BoardStage:
    """The model on a board, through its driver."""

    name = "board"

    def __init__(self, graph: Graph, driver: Any) -> None:
        self._graph = graph
        self._driver = driver
        self.device_tag = str(driver.device_tag)

    def run(self, codes: Codes) -> Codes:
        """Output codes."""
        return np.asarray(self._driver.predict_codes(codes), dtype=np.int64)

    def trace(self, codes: Codes) -> Mapping[str, Codes]:
        """The output: a board shows nothing else."""
        return {self._graph.output.name: self.run(codes)}
