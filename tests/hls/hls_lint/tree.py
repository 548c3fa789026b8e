# SPDX-License-Identifier: Apache-2.0
"""C++ as clang's parser sees it: the tree of one translation unit with every template it instantiates.

Bindings to libclang do not show instantiated templates; ``-ast-dump=json`` does.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Declarations are dumped if their qualified name contains this.
FILTER = "hls4attn"
_ERROR = re.compile(r"^(?P<file>[^:\n]+):(?P<line>\d+):\d+: (?:fatal )?error: (?P<text>.*)$", re.MULTILINE)
_FUNCTIONS = frozenset(
    {"FunctionDecl", "CXXMethodDecl", "CXXConstructorDecl", "CXXDestructorDecl", "CXXConversionDecl"}
)


class Node:
    """A node of the tree.

    Attributes:
        kind: clang's name for it.
        raw: clang's attributes.
        parent: the node above, None for a root.
        children: the nodes below; a part that is left out (of a ``for``) has the kind "".
        file: name of the file, without folders.
        line: its line there; of the end of a macro's expansion where there is one.
        last: the line it ends on.
        dependent: whether it is a template's pattern, in which nothing is decided yet.
    """

    __slots__ = ("children", "dependent", "file", "kind", "last", "line", "parent", "raw")

    def __init__(self, raw: dict[str, Any], parent: Node | None) -> None:
        self.kind: str = raw.get("kind", "")
        self.raw, self.parent = raw, parent
        self.children: list[Node] = []
        self.file, self.line, self.last = "", 0, 0
        self.dependent = parent is not None and parent.dependent

    @property
    def id(self) -> str:
        return str(self.raw.get("id", ""))

    @property
    def name(self) -> str:
        return str(self.raw.get("name", ""))

    @property
    def type(self) -> str:
        """Its type as written, and without typedefs where that differs."""
        t = self.raw.get("type", {})
        return f"{t.get('qualType', '')} {t.get('desugaredQualType', '')}".rstrip()

    @property
    def is_function(self) -> bool:
        return self.kind in _FUNCTIONS

    @property
    def body(self) -> Node | None:
        """Of a function: its outermost block, if it is defined here."""
        return next((c for c in self.children if c.kind == "CompoundStmt"), None)

    def walk(self) -> Iterator[Node]:
        """This node and all below, in the order of the text."""
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(reversed(node.children))

    def above(self) -> Iterator[Node]:
        """The nodes above, the nearest first."""
        node = self.parent
        while node is not None:
            yield node
            node = node.parent

    def function(self) -> Node | None:
        """The function it stands in."""
        return next((n for n in self.above() if n.is_function), None)


class _Builder:
    """Clang leaves out a file or a line that is the same as at the place printed before; this keeps count."""

    def __init__(self) -> None:
        self.file, self.line = "", 0

    def build(self, raw: dict[str, Any], parent: Node | None) -> Node:
        node = Node(raw, parent)
        places = [
            self._place(raw.get("loc")),
            *(self._place(raw.get("range", {}).get(end)) for end in ("begin", "end")),
        ]
        first = places[0] or places[1]
        if first:
            node.file, node.line = first
            node.last = places[2][1] if places[2] else node.line
        elif parent is not None:
            node.file, node.line, node.last = parent.file, parent.line, parent.line
        node.dependent = node.dependent or _is_pattern(node)
        inner = raw.pop("inner", ())
        if not (node.is_function and raw.get("isImplicit")):  # what the compiler writes itself: copies, mostly
            node.children = [self.build(child, node) for child in inner]
        return node

    def _place(self, loc: dict[str, Any] | None) -> tuple[str, int] | None:
        if not loc:
            return None
        if "expansionLoc" in loc:  # of a macro: where it is used
            self._place(loc.get("spellingLoc"))
            return self._place(loc["expansionLoc"])
        if "offset" not in loc:
            return None
        if "file" in loc:
            self.file = Path(loc["file"]).name
        self.line = loc.get("line", self.line)
        return self.file, self.line


def _is_pattern(node: Node) -> bool:
    if node.parent is None or not node.parent.kind.endswith("TemplateDecl"):
        return node.kind == "ClassTemplatePartialSpecializationDecl"
    if node.kind == "CXXRecordDecl":
        return True
    return node.is_function and not any(c.get("kind") == "TemplateArgument" for c in node.raw.get("inner", ()))


@dataclass(frozen=True)
class Tree:
    """A translation unit.

    Attributes:
        roots: its namespaces and declarations that match FILTER.
        errors: file, line and text of what does not compile.
    """

    roots: list[Node]
    errors: list[tuple[str, int, str]]

    def walk(self) -> Iterator[Node]:
        for root in self.roots:
            yield from root.walk()


def clang() -> str:
    """The path of clang++.

    Raises:
        FileNotFoundError: if there is none.
    """
    found = shutil.which("clang++")
    if found is None:
        raise FileNotFoundError("clang++ is not on PATH; install it with: sudo apt-get install clang")
    return found


def parse(main: Path, includes: Sequence[Path], vendor: Path) -> Tree:
    """The tree of a source file.

    Args:
        main: the source file.
        includes: folders of headers.
        vendor: folder of the vendor's headers.
    """
    command = [clang(), "-std=c++11", "-w", "-ferror-limit=0", "-fsyntax-only", "-fno-color-diagnostics"]
    command += ["-Xclang", "-ast-dump=json", "-Xclang", f"-ast-dump-filter={FILTER}"]
    command += ["-isystem", str(vendor), *(f"-I{i}" for i in includes), str(main)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    errors = [(Path(m["file"]).name, int(m["line"]), m["text"]) for m in _ERROR.finditer(done.stderr)]
    if done.returncode != 0 and not errors:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr[-2000:]}")
    return Tree(_roots(done.stdout), errors)


def _roots(text: str) -> list[Node]:
    """Clang prints one JSON object after the other."""
    roots, at, decoder = [], 0, json.JSONDecoder()
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, 20000))
    try:
        while (at := text.find("{", at)) >= 0:
            raw, at = decoder.raw_decode(text, at)
            roots.append(_Builder().build(raw, None))
    finally:
        sys.setrecursionlimit(limit)
    return roots
