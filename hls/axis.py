# SPDX-License-Identifier: Apache-2.0
"""HLS kernels between AXI4-Streams: what stands between a converted model and an overlay.

A kernel takes whole samples from `in_r` and gives their results on `out_r`, codes of 8, 16 or 32 bits in words of 32,
without control registers.  The text of the adaptors is in `hls.axis_cpp` and hls/nnet/attn_axis.h, the gain cells' in
`hls.axis_cells`, the script that synthesises a kernel in `hls.axis_tcl`, its simulation in `hls.axis_sim`.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hls4attn.hls import include_dir
from hls4attn.hls.axis_cpp import Core, kernel_cpp
from hls4attn.hls.stream.packets import cycles_of, flag_depth, packet_cycles
from hls4attn.hls.stream.ports import port_rows
from hls4attn.models.errors import InputError, ModelFileError
from hls4attn.models.files import atomic_write

if TYPE_CHECKING:
    from hls4attn.hls.project import Project

__all__ = ["KernelSource", "cycles_of", "kernel_source", "packet_cycles"]

VENDOR = "hls4attn"
LIBRARY = "hls"
KERNEL_VERSION = "1.0"
#: What a wrapper needs of this package; `attn_stream.h` and others are the project's.
_HEADERS = ("attn_axis.h",)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_PORT = re.compile(r"\s*(?:hls::stream<(\w+)> &|(\w+) )(\w+)(?:\[[^]]*\])*\s*")
_INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)
_INTERFACE = re.compile(r"^[ \t]*#pragma HLS INTERFACE [^\n]*\n", re.MULTILINE)
#: Words of C++ and of the kernels' own texts that a top function cannot have as its name.
_TAKEN = frozenset(
    """
    alignas alignof asm auto bool case catch char const default delete do double enum explicit export extern false
    float goto hls hls4attn inline int long main mutable namespace new nnet operator private protected public
    register short signed sizeof static struct switch template this throw true try typedef typename union unsigned
    using virtual void volatile
    """.split()  # noqa: SIM905
)


@dataclass(frozen=True)
class KernelSource:
    """C++ of one kernel, ready for high-level synthesis as an IP with the streams `in_r` and `out_r`.

    Args:
        name: of the IP, a C identifier; its VLNV is ``hls4attn:hls:<name>:1.0``.
        top: top function.
        folder: absolute; all other paths are relative to it.
        files: translation units.
        includes: folders for -I.
        data: further files that must be beside them.
        part: the FPGA.
        clock_period_ns: target clock period.
        backend: hls4ml backend that wrote it: Vitis or Vivado.
        user_bits: width of TUSER of `in_r`; 0 if it has none.
    """

    name: str
    top: str
    folder: Path
    files: tuple[str, ...]
    includes: tuple[str, ...]
    data: tuple[str, ...]
    part: str
    clock_period_ns: float
    backend: str
    user_bits: int = 0

    @property
    def vlnv(self) -> str:
        """Vendor, library, name and version of the IP."""
        return f"{VENDOR}:{LIBRARY}:{self.name}:{KERNEL_VERSION}"


def kernel_source(project: Project, name: str, folder: Path | str) -> KernelSource:
    """Write the kernel of a converted model: its firmware between two adaptors.

    Of the firmware, what synthesis reads is copied, less the directives for the ports of its top function: Vitis HLS
    allows them for the top only (UG1399), which is the kernel's now.  The folder can be moved afterwards: everything
    that synthesis reads is in it, but for the tool's own headers.

    Args:
        project: of either io_type.
        name: of the IP and of its top function.
        folder: where its files go; made if missing, files of the same names are replaced.

    Raises:
        InputError: for a name that no function can have beside those of the project.
        ModelFileError: if the project is incomplete, or the folder cannot be written.
        UnsupportedError: for a port whose codes take more than 32 bits.
    """
    from hls4attn.hls.hwfile import read_design  # imports onnx

    config = project.config
    check_name(name, (config.project_name,))
    design = read_design(project.lowered)
    header, body = (_read(project.path / "firmware" / f"{config.project_name}{end}") for end in (".h", ".cpp"))
    ports = _prototype(header, config.project_name, project.path)
    if design.io_type == "io_stream":
        depths = design.input_stream.depth, design.output_stream.depth
        core = Core(config.project_name, ports[0][0], ports[1][0], depths=depths)
    else:
        arrays = _directive(body, ports[0][1]), _directive(body, ports[1][1])
        core = Core(config.project_name, ports[0][0], ports[1][0], arrays)
    text = kernel_cpp(name, core, port_rows(design), flag_depth(design, config))
    includes = f'#include "{config.project_name}.h"\n#include "attn_axis.h"\n'
    files = {f"{name}.cpp": f"{_HEAD.format(name=name)}{includes}{text}".encode()}
    sources = (f"{name}.cpp", f"firmware/{config.project_name}.cpp")
    firmware = {f"firmware/{k}": v for k, v in _firmware(project.path / "firmware").items()}
    firmware[sources[1]] = _INTERFACE.sub("", body).encode()
    below = set(closure(*_HEADERS)) - set(_HEADERS)
    needed = _included(firmware, [sources[1], *(f"firmware/nnet_utils/{header}" for header in below)])
    files |= {k: v for k, v in firmware.items() if k in needed or k.endswith(".txt")}
    part, period = config.part, config.clock_period_ns
    return write_source(Path(folder), name, files, sources, part, period, config.backend)


_HEAD = """// SPDX-License-Identifier: Apache-2.0
//
// {name}: the design in firmware/ between AXI4-Streams; see attn_axis.h.  Generated.

"""


def write_source(
    folder: Path,
    name: str,
    files: Mapping[str, bytes],
    sources: tuple[str, ...],
    part: str,
    clock_period_ns: float,
    backend: str,
    headers: Iterable[str] = _HEADERS,
    user_bits: int = 0,
) -> KernelSource:
    """Put the files of a kernel in place.

    Args:
        folder: where they go.
        name: of the kernel and of its top function.
        files: contents by path.
        sources: which of them are translation units.
        part: the FPGA.
        clock_period_ns: target clock period.
        backend: Vitis or Vivado.
        headers: of this package, to lie beside the first source.
        user_bits: width of TUSER of the input.

    Raises:
        ModelFileError: if a file cannot be written.
    """
    folder = folder.absolute()
    files = dict(files) | {h: (include_dir() / h).read_bytes() for h in headers}
    for path, data in files.items():
        atomic_write(folder / path, data)
    folders = [".", *sorted({str(Path(p).parent) for p in files if p.endswith(".h")} - {"."})]
    data_files = tuple(sorted(set(files) - set(sources)))
    return KernelSource(
        name, name, folder, sources, tuple(folders), data_files, part, clock_period_ns, backend, user_bits
    )


def closure(*headers: str) -> tuple[str, ...]:
    """Headers of this package, with those that they include."""
    found: list[str] = []
    queue = list(headers)
    while queue:
        name = queue.pop()
        if name not in found and (include_dir() / name).is_file():
            found.append(name)
            queue += _INCLUDE.findall((include_dir() / name).read_text(encoding="utf-8"))
    return tuple(sorted(found))


def check_name(name: str, taken: Iterable[str] = ()) -> None:
    """Whether a top function can have a name.

    Raises:
        InputError: if it cannot.
    """
    if not _NAME.fullmatch(name) or name in _TAKEN or keyword.iskeyword(name):
        raise InputError(f"A kernel's name must be a C identifier that means nothing else. Received: {name!r}")
    if name in taken:
        raise InputError(
            f"The kernel cannot be called {name!r}, as the design's own top function is; choose another name, or "
            "convert the model with another project_name"
        )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelFileError(f"Cannot read {path} ({error}); convert the model again") from error


def _prototype(header: str, function: str, where: Path) -> tuple[tuple[str, str], tuple[str, str]]:
    """Type and name of the input and of the output of a project's top function."""
    declared = re.search(rf"\bvoid {function}\(([^)]*)\);", header)
    found = [_PORT.fullmatch(p) for p in declared[1].split(",")] if declared else []
    named = [(p[1] or p[2], p[3]) for p in found if p is not None]
    if len(found) != len(named) or len(named) != 2:
        raise ModelFileError(
            f"{where}: firmware/{function}.h does not declare a function of one input and one output; convert the "
            "model again"
        )
    return named[0], named[1]


def _directive(body: str, port: str) -> str:
    """The array directive of a port in the top function: its name and its options."""
    found = re.search(rf"#pragma HLS (ARRAY_\w+) variable={port} ([^\n]*\S)", body)
    return f"{found[1]} {found[2]}" if found else ""


def _included(files: Mapping[str, bytes], roots: Iterable[str]) -> set[str]:
    """The files that some are made of: themselves, and what they include, from beside them or from an -I folder."""
    found: set[str] = set()
    queue = [root for root in roots if root in files]
    while queue:
        path = queue.pop()
        if path not in found:
            found.add(path)
            folders = str(Path(path).parent), "firmware", "firmware/nnet_utils"
            names = _INCLUDE.findall(files[path].decode("utf-8", "replace"))
            queue += [file for name in names for folder in folders if (file := f"{folder}/{name}") in files]
    return found


def _firmware(folder: Path) -> dict[str, bytes]:
    """Files of a project that synthesis reads: not the types, which the tool has in its own form."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and name.parts[0] != "ap_types" and path.suffix in (".h", ".cpp", ".txt"):
            found[name.as_posix()] = path.read_bytes()
    return found
