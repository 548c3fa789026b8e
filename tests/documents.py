# SPDX-License-Identifier: Apache-2.0
"""Code blocks of the README and of the documentation's pages, and how they are run.

What a page can say about the fenced block below it, each in a comment on a line of its own:

* ``<!-- slow -->``: it takes more than 10 s; ``make test`` leaves it out, ``make test-all`` runs it.
* ``<!-- exit 2 -->``: a ```bash block whose last line ends with that code.
* ``<!-- output -->``: a ```text block with what the block before it prints; a line ``...`` stands for any lines, and
  numbers of seconds are not compared.

```bash lines start with ``hls4attn``, ``python`` or ``make``; of a make target the last command is run where it is one
of hls4attn, else the target is only looked for. ```python blocks of a page share one process. Both run in the
repository's root. A command that an earlier page has run is not run again.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "pages"
DOCUMENTS = [ROOT / "README.md", *sorted(PAGES.rglob("*.md"))]
_LIMIT_S = 600
_FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```[ ]*$", re.MULTILINE | re.DOTALL)
_NOTE = re.compile(r"<!-- (slow|output|exit \d+) -->\s*")
_SECONDS = re.compile(r"\b\d+(?:\.\d+)? s\b")
_DRIVER = """
import contextlib, io, json, linecache, os, sys, traceback
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what is printed below Python must not come between the answers
space = {"__name__": "__main__"}
for line in sys.stdin:
    where, code = json.loads(line)
    linecache.cache[where] = (len(code), None, code.splitlines(True), where)
    printed, failure = io.StringIO(), ""
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(code, where, "exec"), space)
    except BaseException:
        failure = traceback.format_exc()
    print(json.dumps([printed.getvalue(), failure]), file=answers, flush=True)
"""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str
    slow: bool = False
    code: int = 0
    output: str | None = None

    @property
    def where(self) -> str:
        """Page and line."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """Lines of a ```bash block, with continued ones joined."""
        return [line for line in self.text.replace("\\\n", " ").splitlines() if line.strip() and line[0] != "#"]


def blocks(page: Path, text: str | None = None) -> list[Block]:
    """All fenced blocks of a page; a shown output belongs to the block before it."""
    text = page.read_text() if text is None else text
    found: list[Block] = []
    end = 0
    for fence in _FENCE.finditer(text):
        notes = {n.partition(" ")[0]: n for n in _notes(text[end : fence.start()])}
        end = fence.end()
        block = Block(
            page,
            text.count("\n", 0, fence.start()) + 1,
            fence[2],
            textwrap.dedent(fence[3]),
            "slow" in notes,
            int(notes.get("exit", "exit 0").split()[1]),
        )
        if "output" in notes:
            assert found, f"{block.where}: no block before this output"
            found[-1] = replace(found[-1], output=block.text)
        found.append(block)
    return found


def _notes(before: str) -> Iterator[str]:
    """Notes that stand directly over a fence."""
    while found := re.search(rf"{_NOTE.pattern}\Z", before):
        yield found[1]
        before = before[: found.start()]


def run_page(page: Path, *, slow: bool) -> None:
    """Run a page's blocks in their order; the slow ones only if told to.

    Raises:
        AssertionError: if one fails, prints something else than the page says, or has mismatches.
    """
    with Python() as python:
        for block in blocks(page):
            if block.language not in ("bash", "python") or (block.slow and not slow):
                continue
            printed = python.run(block) if block.language == "python" else _bash(block)
            wrong = [m for m in re.findall(r"(\d+)/\d+ mismatches", printed) if m != "0"]
            assert not wrong, f"{block.where}: {wrong} mismatches\n{printed}"
            if block.output is not None:
                assert agrees(block.output, printed), f"{block.where} printed\n{printed}\nnot\n{block.output}"


def agrees(shown: str, printed: str) -> bool:
    """Whether a shown output is what was printed, without numbers of seconds and with ``...`` for any lines."""
    parts = [[]]
    for line in _lines(shown):
        if line.strip() == "...":
            parts.append([])
        else:
            parts[-1].append(re.escape(line + "\n"))
    pattern = "(?:.*\n)*?".join("".join(part) for part in parts)
    return re.fullmatch(pattern, "".join(line + "\n" for line in _lines(printed))) is not None


def _lines(text: str) -> list[str]:
    return [_SECONDS.sub("# s", line.rstrip()) for line in text.strip("\n").splitlines()]


def _bash(block: Block) -> str:
    printed = ""
    for line in block.commands:
        code, out, err = run_line(line)
        want = block.code if line == block.commands[-1] else 0
        assert code == want, f"{block.where}: {line}\nended with {code}, not {want}\n{out}{err}"
        if line.startswith("hls4attn verify "):
            assert re.search(r"\b0/[1-9]\d* mismatches", out), f"{block.where}: {line} compared nothing\n{out}"
        printed += out + (err if want else "")
    return printed


def run_line(line: str) -> tuple[int, str, str]:
    """Exit code, output and errors of a command line of a page."""
    words = tuple(shlex.split(line, comments=True))
    assert words[0] in ("hls4attn", "python", "make"), f"Pages show hls4attn, python and make, not {line!r}"
    if words[0] != "make":
        return _run(words)
    code, out, err = _run((*words, "--dry-run", "--no-print-directory"))
    last = shlex.split(out.strip().splitlines()[-1]) if code == 0 and out.strip() else [""]
    return _run(("hls4attn", *last[1:])) if Path(last[0]).name == "hls4attn" else (code, "", err)


@functools.cache
def _run(words: tuple[str, ...]) -> tuple[int, str, str]:
    done = subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=_LIMIT_S, env=environment()
    )
    return done.returncode, done.stdout, done.stderr


def environment() -> dict[str, str]:
    """This Python's programs first, and tables of one width."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "COLUMNS": "120", "TF_CPP_MIN_LOG_LEVEL": "3"}


class Python:
    """The process of a page's Python blocks; it starts with the first one."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed where this is left)

    def __enter__(self) -> Python:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._process.communicate(timeout=60)
        self._errors.close()

    def run(self, block: Block) -> str:
        """What a block prints."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _DRIVER],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                env=environment(),
            )
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([block.where, block.text]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        self._errors.seek(0)
        assert answer, f"{block.where} ended its process\n{self._errors.read()[-2000:]}"
        printed, failure = json.loads(answer)
        assert not failure, f"{block.where} failed\n{failure}"
        return printed
