# SPDX-License-Identifier: Apache-2.0
"""The Tcl that builds an overlay, stage by stage; the same text for every version of the tools.

A script is its values, written as Tcl variables, then the procedures of `overlays/tcl`, which are constant.  It runs
in the build folder with relative paths only.  A stage that is run again begins by removing what it made before, and
leaves an exit code other than 0 if anything failed.  Two environment variables matter to Vivado's stages::

    HLS4ATTN_JOBS         parallel jobs of a run; 2 without it
    HLS4ATTN_BOARD_FILES  a folder with board files that are not installed in Vivado
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from hls4attn.hls.rtl.ip import RtlSource
from hls4attn.models.errors import SpecError
from hls4attn.overlays.block_design import block_values
from hls4attn.overlays.design import OverlayDesign
from hls4attn.overlays.shell import design_shell, rtl_files, shell_values
from hls4attn.overlays.tcl_text import Value, variables

if TYPE_CHECKING:
    from hls4attn.hls.axis import KernelSource

Tool = Literal["hls", "vivado"]
Kernel: TypeAlias = "KernelSource | RtlSource"
"""What a kernel is made of: C++ for high-level synthesis, or Verilog."""
#: Where the sources of kernels lie in the build folder: C++ for high-level synthesis, and Verilog.
HLS_FOLDER, RTL_FOLDER = "hls", "kernels"
#: In the order in which they run; a kernel has a script of `hls` or, if it is Verilog, one of `kernel`.
STAGES = ("hls", "kernel", "shell", "design", "synthesis", "implementation", "bitstream")

_PACKAGING = ("kernel", "shell")
PROJECT = "vivado/overlay"
BLOCK_DESIGN = "overlay"
_FOLDER = Path(__file__).parent / "tcl"
_IMPLEMENTED = f"{PROJECT}.runs/impl_1/{BLOCK_DESIGN}_wrapper_routed.dcp"
_SYNTHESISED = f"{PROJECT}.runs/synth_1/{BLOCK_DESIGN}_wrapper.dcp"


@dataclass(frozen=True)
class Script:
    """One run of a tool.  It runs in the build folder, and every path is relative to that.

    Args:
        stage: which of `STAGES`.
        name: unique; the script is written to ``scripts/<name>.tcl``, its log to ``logs/<name>.log``.
        tool: which tool runs it.
        text: the Tcl.
        reads: files that earlier scripts or the writer of the folder must have left.
        writes: files that it must leave; a run that does not has failed.
    """

    stage: str
    name: str
    tool: Tool
    text: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]


def overlay_scripts(design: OverlayDesign, kernels: Sequence[Kernel]) -> tuple[Script, ...]:
    """All scripts that build an overlay, in the order in which they run.

    Args:
        design: the overlay.
        kernels: sources of its kernels, in the order of `design.kernels`; they lie in ``hls/<name>`` of the build
            folder, those in Verilog in ``kernels/<name>``, and `shell.rtl_files` in ``rtl``.

    Returns:
        One script of the stage `hls` or `kernel` for every kernel, and one of each other stage.

    Raises:
        SpecError: if the kernels are not those of the design.
    """
    _check_kernels(design, kernels)
    shell = design_shell(design)
    rtl = tuple(f"rtl/{name}" for name in rtl_files(design))
    component = f"ip/{shell.name}/component.xml"
    components = (component, *(f"ip/{kernel.name}/component.xml" for kernel in kernels))
    project = f"{PROJECT}.xpr"
    drawn = (project, f"{PROJECT}.srcs/sources_1/bd/{BLOCK_DESIGN}/{BLOCK_DESIGN}.bd")
    reports = tuple(f"reports/{name}.rpt" for name in ("utilization", "timing", "power"))
    out = f"out/{design.name}"
    common: dict[str, Value] = {"project": project, "design": BLOCK_DESIGN}
    drawing = common | {"ip_repository": "ip", "ip_components": components} | block_values(design)
    results = tuple(f"{out}.{suffix}" for suffix in ("bit", "hwh", "xsa"))
    return (
        *sorted((_kernel_script(kernel) for kernel in kernels), key=lambda script: STAGES.index(script.stage)),
        _vivado("shell", shell_values(design, rtl), rtl, (component,)),
        _vivado("design", drawing, components, drawn),
        _vivado("synthesis", common, drawn, (_SYNTHESISED,)),
        _vivado("implementation", common | {"reports": "reports"}, (project, _SYNTHESISED), (_IMPLEMENTED, *reports)),
        _vivado("bitstream", common | {"output": out}, (project, _IMPLEMENTED), results),
    )


def _check_kernels(design: OverlayDesign, kernels: Sequence[Kernel]) -> None:
    wanted = [(kernel.name, kernel.user_bits) for kernel in design.kernels]
    found = [(kernel.name, kernel.user_bits) for kernel in kernels]
    if found != wanted:
        raise SpecError(
            f"Overlay {design.name!r} needs the kernels (name, bits of TUSER) {wanted}, in this order. "
            f"Received: {found}"
        )
    for kernel in kernels:
        if kernel.part != design.board.part:
            raise SpecError(
                f"Kernel {kernel.name!r} is written for {kernel.part}, the overlay for {design.board.part}. "
                "Write the kernel again for this board"
            )


def _kernel_script(kernel: Kernel) -> Script:
    if isinstance(kernel, RtlSource):
        return _packaging(kernel)
    from hls4attn.hls.axis_tcl import hls_inputs, hls_outputs, hls_script  # imports onnx, which boards do not have

    name = f"hls_{kernel.name}"
    return Script("hls", name, "hls", hls_script(kernel), hls_inputs(kernel), hls_outputs(kernel))


def _packaging(kernel: RtlSource) -> Script:
    rtl, tables = (tuple(f"{RTL_FOLDER}/{kernel.name}/{p}" for p in paths) for paths in (kernel.files, kernel.tables))
    values: dict[str, Value] = {
        "part": kernel.part,
        "ip_name": kernel.name,
        "ip_title": kernel.title,
        "ip_version": kernel.vlnv.split(":")[3],
        "ip_folder": f"ip/{kernel.name}",
        "rtl": rtl,
        "tables": tables,
        "scratch": "vivado_kernel",
        "interfaces": kernel.interfaces,
    }
    written = (f"ip/{kernel.name}/component.xml",)
    return _vivado("kernel", values, (*rtl, *tables), written, f"kernel_{kernel.name}")


def _vivado(
    stage: str, values: dict[str, Value], reads: tuple[str, ...], writes: tuple[str, ...], name: str = ""
) -> Script:
    parts = [
        "# SPDX-License-Identifier: Apache-2.0\n# Stage " + stage + ".  Generated; do not edit.\n",
        variables("hls4attn", values),
        _procedures("common"),
        *((_procedures("packager"),) if stage in _PACKAGING else ()),
        _procedures(stage),
        f"hls4attn::main {stage}\n",
    ]
    return Script(stage, name or stage, "vivado", "\n".join(parts), reads, writes)


def _procedures(name: str) -> str:
    text = (_FOLDER / f"{name}.tcl").read_text(encoding="utf-8")
    return text.removeprefix("# SPDX-License-Identifier: Apache-2.0\n")
