# SPDX-License-Identifier: Apache-2.0
"""From a model file to project, overlay and stages: what the command line and the notebooks share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from hls4attn.host.connect import chosen_board
from hls4attn.host.cycle_kernel import Clocked, CountedKernel, CycleKernel
from hls4attn.host.installed import load_installed
from hls4attn.host.library import find_overlay, identifier
from hls4attn.host.pynq_compat import import_pynq
from hls4attn.host.stages import BoardStage, CsimStage
from hls4attn.models.errors import InputError, ToolError, UnsupportedError
from hls4attn.models.export.graph import Graph
from hls4attn.models.export.keras_stage import KEY_WEIGHTS, KerasStage, keras_stage, require_keras
from hls4attn.models.export.reader import load_model, read_graph
from hls4attn.models.export.stages import OnnxRuntimeStage, QonnxStage, ReferenceEvaluatorStage, Stage

if TYPE_CHECKING:
    from hls4attn.hls.config import HlsConfig
    from hls4attn.hls.csim import CSim
    from hls4attn.hls.project import Project
    from hls4attn.hls.rtl.unit import RtlUnit
    from hls4attn.host.rtl_choice import RtlChoice
    from hls4attn.host.rtl_network import RtlNetworkStage
    from hls4attn.host.rtl_stage import RtlOperatorStage
    from hls4attn.overlays.design import OverlayDesign
    from hls4attn.overlays.package import Package

    RtlStage = RtlNetworkStage | RtlOperatorStage

STAGES = ("keras", "onnx", "qonnx", "onnxruntime", "csim", "board")
#: Stages that run only if they are asked for: they take long, or tools that not everybody has.
ON_REQUEST = ("rtl", "netlist")
#: All of them, in the order in which they are compared.
ALL_STAGES = (*STAGES[:-1], *ON_REQUEST, STAGES[-1])


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
        fastest: whether the fastest Verilog that fits the board replaces the choices of `config`, see `for_rtl`.
        made: a finished project of this model with `config`, which is taken as it is in place of a conversion.
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
    fastest: bool = False
    made: Project | None = None

    @classmethod
    def open(cls, path: Path, **options: Any) -> Flow:
        """Read a model file, which may have operators of installed packages.

        Raises:
            ToolError: if an installed package has operators that do not load.
            ModelFileError: if it is no valid ONNX file.
            UnsupportedError: if it has no exact integer meaning.
        """
        load_installed()
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

        if self.fastest:
            return self.rtl_choice.config
        target = board(self.board)
        config = self.config or HlsConfig(part=target.part)
        if not self.fitted or config.io_type != "io_stream":
            return config
        plain = lower_graph(self.graph)
        return replace(config, reuse_factor=auto_reuse(lambda c: to_stream(plain, c), config, capacity(target)))

    @cached_property
    def rtl_choice(self) -> RtlChoice:
        """How the model's Verilog is made.

        Raises:
            UnsupportedError: if there is none of it, or it fits no board.
        """
        from hls4attn.host.rtl_choice import rtl_choice

        free = self.config if self.fastest else None
        return rtl_choice(self.graph, free or self.settings, self.board, free is not None)

    @cached_property
    def no_rtl(self) -> str | None:
        """Why there is no Verilog, whatever the user chooses; None if there is.

        Raises:
            UnsupportedError: if other choices would help.
        """
        try:
            _ = self._unit if self.rtl is not None else self.rtl_choice
        except UnsupportedError as error:
            if self.rtl is not None or self.fastest:
                return str(error)
            reason = self._plain.no_rtl
            if reason is None:
                raise
            return reason
        return None

    @property
    def _unit(self) -> RtlUnit:
        from hls4attn.hls.rtl.unit import rtl_unit
        from hls4attn.host.rtl_stage import operator_of

        return rtl_unit(operator_of(self.graph))

    @property
    def _plain(self) -> Flow:
        """The same with nothing chosen by the user."""
        from hls4attn.hls.config import HlsConfig
        from hls4attn.overlays.boards import board

        return replace(self, config=HlsConfig(part=board(self.board).part, io_type="io_stream"), fastest=True)

    @cached_property
    def project(self) -> Project:
        """The HLS project; converted now unless it is there already."""
        if self.made is not None:
            return self.made
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
                which counts them.  Where there is no Verilog it is the C simulation, and `cycles_are` says so.

        Raises:
            UnsupportedError: if there is Verilog of it, but not with these choices.
        """
        words = "by the cycle model of the design and its adaptors, not measured"
        if model == "rtl":
            if self.no_rtl is None:
                stage = self._packet_stage()
                made = self.rtl_choice.words if self.rtl is None else ""
                return CountedKernel(lambda: stage, stage.cycles_are, made)
            words += f"; C simulation, for want of RTL: {self.no_rtl}"
        from hls4attn.hls.axis import cycles_of

        return CycleKernel(self.csim.run, cycles_of(self.project), words)

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
        if name not in ALL_STAGES:
            raise InputError(f"Unknown stage {name!r}; known: {', '.join(ALL_STAGES)}")
        return self._stage(name)

    @contextmanager
    def _stage(self, name: str) -> Iterator[Stage]:
        if name == "board":
            with self.on_board() as overlay:
                yield BoardStage(self.graph, overlay.model, self._computed(overlay.device))
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

    def _computed(self, device: Any) -> str:
        """What an emulated board computed with, if it was asked for Verilog."""
        from hls4attn.host.connect import is_emulated

        if not is_emulated(device) or device.computes != "rtl":
            return ""
        return ", simulated RTL" if self.no_rtl is None else ", C simulation: there is no RTL of it"

    def for_rtl(self, given: Collection[str] = ()) -> Flow:
        """The same for Verilog; what the user left open becomes the fastest that fits the board.

        If he chose the reuse factor or the heads at a time, all that is left is one key at a time in attention: there
        is RTL of no other number.

        Args:
            given: names of the conversion options that the user gave.
        """
        config = self.config
        if config is None or config.io_type != "io_stream" or self.rtl is not None:
            return self
        heads = "parallel_heads" in given or config.parallel_heads > 1
        if self.fitted and not heads and config.lanes in {0, 1}:
            return replace(self, fitted=False, fastest=True)
        attention = any(node.spec or node.context for node in self.graph.nodes)
        return replace(self, config=replace(config, lanes=1)) if attention and not config.lanes else self

    def where_rtl(self, given: Collection[str] = ()) -> Flow:
        """`for_rtl` where there is Verilog of the model; else the same as it was.

        Raises:
            UnsupportedError: if there is Verilog of it, but not with these choices.
        """
        found = self.for_rtl(given)
        return found if found.no_rtl is None else self

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

        return RtlNetworkStage(self.graph, self.rtl_choice, netlist)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file can have
        return False
