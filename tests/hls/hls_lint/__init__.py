# SPDX-License-Identifier: Apache-2.0
"""A lint for code that a synthesiser must accept: the kernels' headers and generated top functions, instantiated.

    rule        refuses
    ----------  ------------------------------------------------------------------------------------------------------
    float       a floating-point type, literal or conversion, anywhere
    library     a call of a function that is not in these headers; operators and members of ap_ and hls types are free
    memory      new, delete, types of std, arrays whose size is known only at run time
    recursion   a function that reaches itself at run time; constexpr functions in constant expressions may
    dispatch    virtual functions, function pointers, dynamic_cast, typeid
    jumps       throw, try, goto, inline assembly
    loops       while, do, range-for; a for other than (int i = CONST; i < CONST; i++), or with > and --, or with a
                literal step, or whose variable is changed inside; break is free, and so is "i < CONST && more"
    exits       break and return in a PIPELINE loop
    constants   a constant, a table above all, that code must run to fill
    state       static or global data that is not const
    directives  a #pragma HLS that is unknown, misspelt, out of place, or names what does not exist there
    timing      in a streaming process: a PIPELINE loop that does not end in HLS4ATTN_CYCLES of its II, and the
                reverse; a process without HLS4ATTN_LATENCY; a STREAM without its HLS4ATTN_DEPTH, and the reverse
    words       writing to a stream what has no HLS4ATTN_PACK, and the reverse
    region      in a DATAFLOW function: anything but declarations, HLS4ATTN_PROCESS and a last HLS4ATTN_JOIN
    unlinted    a function of a header that no linted unit instantiates: nothing was checked in it
    compiles    what clang refuses

Units are compiled as in synthesis (__SYNTHESIS__ is set once the vendor's open headers, which refuse it, are read).
The vendor's headers and the simulation's are exempt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hls_units import SYNTHESIS, bare, namespaces

from hls4attn.hls.compiler import ap_types_dir, cache_dir
from hls4attn.models.files import atomic_write
from hls_lint import language, marks
from hls_lint.code import RULES, Code
from hls_lint.pragmas import instrument
from hls_lint.tree import parse

__all__ = ["RULES", "Finding", "language", "lint", "marks"]


@dataclass(frozen=True, order=True)
class Finding:
    """What a rule refuses, and where."""

    file: str
    line: int
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.rule}: {self.text}"


def lint(units: Mapping[str, str], headers: Path) -> list[Finding]:
    """Everything that the rules refuse in generated sources and in the headers that they use.

    Args:
        units: C++ texts by name.
        headers: the folder of headers; all of them are read.
    """
    texts = {f"nnet/{h.name}": h.read_text() for h in headers.glob("*.h")}
    main = SYNTHESIS + namespaces({name: f'#include "{name}.cpp"' for name in units}, sorted(texts))
    texts |= {f"{name}.cpp": bare(text) for name, text in units.items()}
    digest = hashlib.sha256(repr((texts, main)).encode()).hexdigest()[:24]
    folder = cache_dir() / "lint" / digest
    findings = set()
    for name, text in (texts | {"main.cpp": main}).items():
        changed, problems = instrument(text)
        atomic_write(folder / name, changed.encode())
        findings |= {Finding(Path(name).name, line, "directives", problem) for line, problem in problems}
    tree = parse(folder / "main.cpp", (folder, folder / "nnet"), ap_types_dir())
    for file, line, error in tree.errors:
        lines = (folder / (file if file.endswith(".cpp") else f"nnet/{file}")).read_text().splitlines()
        kind = "directives" if '"#pragma' in lines[line - 1] else "compiles"
        findings.add(Finding(file, line, kind, error))
    code = Code(tree)
    for name, check in RULES.items():
        findings |= {Finding(node.file, node.line, name, text) for node, text in check(code)}
    return sorted(findings)
