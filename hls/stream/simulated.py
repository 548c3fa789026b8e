# SPDX-License-Identifier: Apache-2.0
"""What all dataflow simulations share: how their text ends, how it is compiled and called, and what it reports."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from hls4attn.hls import include_dir, sim_dir
from hls4attn.hls.compiler import ap_types_dir, compile_library
from hls4attn.models.errors import SimulationError
from hls4attn.models.files import atomic_write

ENTRY = "hls4attn_dataflow"
_REPORT_BYTES = 1 << 20

#: Behind the processes, in a text for `str.format`: what is left over, an error, or the report.
END = """        const std::string left = sim::take_note();
        if (!left.empty()) {{
            throw sim::failure(left);
        }}
    }} catch (const std::exception &error) {{
        sim::take_note();
        sim::put(report, size, error.what());
        return 1;
    }}
    sim::put(report, size, sim::describe(net));
    return 0;
}}
"""


class Simulated:
    """A compiled dataflow simulation.

    Its C entry takes arrays, how many samples they hold, a seed, the percentages of `run`, and room for the report.

    Args:
        name: of the design, for errors.
        path: where its text goes.
        text: C++.
        arrays: number of arrays.

    Raises:
        ToolError: if there is no compiler, or the text does not compile.
    """

    def __init__(self, name: str, path: Path, text: str, arrays: int) -> None:
        self._name = name
        atomic_write(path, text.encode())
        library = ctypes.CDLL(str(compile_library(path, (sim_dir(), include_dir(), ap_types_dir()))))
        self._entry = getattr(library, ENTRY)
        pointer, number = ctypes.c_void_p, ctypes.c_int
        self._entry.argtypes = [
            *[pointer] * arrays,
            ctypes.c_long,
            ctypes.c_uint64,
            *[number] * 3,
            pointer,
            ctypes.c_long,
        ]

    def run(
        self, arrays: Sequence[NDArray[Any] | None], samples: int, seed: int, stalls: tuple[int, int], interrupts: int
    ) -> dict[str, Any]:
        """Run all samples; returns the report.

        Args:
            arrays: contiguous, of the entry's types; None for a null pointer.
            samples: that the arrays hold.
            seed: of the stalls and of the order in which processes run.
            stalls: percentage of cycles in which the input gives nothing, and in which the output takes nothing.
            interrupts: percentage of FIFO accesses after which another process gets its turn.

        Raises:
            SimulationError: on deadlock, starvation, or words left over, naming processes and FIFOs.
        """
        report = ctypes.create_string_buffer(_REPORT_BYTES)
        pointers = [None if a is None else a.ctypes.data for a in arrays]
        failed = self._entry(*pointers, samples, seed, interrupts, *stalls, ctypes.addressof(report), _REPORT_BYTES)
        text = report.value.decode()
        if failed:
            raise SimulationError(f"{self._name}: {text}")
        found: dict[str, Any] = json.loads(text)
        return found
