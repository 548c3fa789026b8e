# SPDX-License-Identifier: Apache-2.0
"""Directives as code: clang drops ``#pragma HLS``, so each becomes a static_assert where it stands.

    #pragma HLS STREAM variable=rows depth=C::words
    static_assert(sizeof((rows)) > 0 && (C::words) >= 1, "#pragma HLS STREAM variable=rows depth=C::words");

The compiler then says whether a variable is in scope and what a constant is, in every instantiation; the tree shows
the block a directive stands in.  The simulation's marks (HLS4ATTN_CYCLES, ...), empty in synthesis, become
static_asserts too.  Lines keep their numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

#: How an option's value is checked: a variable in scope (of a port also `return`), a constant from 1 or from 0 on, or
#: one of these words.
Value = str | frozenset[str]
VARIABLE, PORT, FROM_1, FROM_0 = "variable", "port", "from 1", "from 0"


@dataclass(frozen=True)
class Directive:
    """What a directive may say.

    Attributes:
        options: ``name=value`` options.
        flags: bare words.
        needed: of both, those that must be there.
    """

    options: Mapping[str, Value] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()
    needed: frozenset[str] = frozenset()


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ARRAY = Directive(
    {"variable": VARIABLE, "factor": FROM_1, "dim": FROM_0}, _words("complete block cyclic"), _words("variable")
)
#: Directives that Vivado HLS 2020.1 and Vitis HLS both know, as both spell them; and BIND_STORAGE, of Vitis.
DIRECTIVES = {
    "ALLOCATION": Directive(
        {"instances": _words("mul add sub"), "limit": FROM_1}, _words("operation"), _words("operation instances limit")
    ),
    "ARRAY_PARTITION": _ARRAY,
    "ARRAY_RESHAPE": _ARRAY,
    "BIND_STORAGE": Directive(
        {
            "variable": VARIABLE,
            "type": _words("fifo ram_1p ram_2p ram_s2p ram_t2p rom_1p rom_2p rom_np"),
            "impl": _words("auto bram lutram srl uram"),
            "latency": FROM_1,
        },
        needed=_words("variable type"),
    ),
    "DATAFLOW": Directive(),
    "DEPENDENCE": Directive({"variable": VARIABLE}, _words("inter intra false true RAW WAR WAW"), _words("variable")),
    "INLINE": Directive(flags=_words("off")),
    "INTERFACE": Directive(
        {"port": PORT}, _words("ap_ctrl_none ap_fifo ap_none axis s_axilite register both"), _words("port")
    ),
    "LOOP_FLATTEN": Directive(flags=_words("off")),
    "LOOP_TRIPCOUNT": Directive({"min": FROM_0, "avg": FROM_0, "max": FROM_1}, needed=_words("max")),
    "PIPELINE": Directive({"II": FROM_1}, _words("rewind off")),
    "RESET": Directive({"variable": VARIABLE}, needed=_words("variable")),
    "STREAM": Directive({"variable": VARIABLE, "depth": FROM_1}, needed=_words("variable depth")),
    "UNROLL": Directive({"factor": FROM_1}),
}
#: Those that say something about a loop, and about a function.
OF_LOOPS = frozenset({"LOOP_FLATTEN", "LOOP_TRIPCOUNT", "PIPELINE", "UNROLL"})
OF_FUNCTIONS = frozenset({"DATAFLOW", "INLINE"})

#: The marks of the dataflow simulation, as they read here.
MARKS = {
    "HLS4ATTN_PROCESS(...)": 'static_assert(true, "HLS4ATTN_PROCESS"); __VA_ARGS__;',
    "HLS4ATTN_REGION(...)": 'static_assert(true, "HLS4ATTN_REGION"); __VA_ARGS__;',
    "HLS4ATTN_JOIN": 'static_assert(true, "HLS4ATTN_JOIN");',
    "HLS4ATTN_DEPTH(stream, ...)": "static_assert(sizeof((stream)) > 0 && (__VA_ARGS__) >= 1, "
    '"HLS4ATTN_DEPTH " #stream " " #__VA_ARGS__);',
    "HLS4ATTN_LATENCY(...)": 'static_assert((__VA_ARGS__) >= 1, "HLS4ATTN_LATENCY " #__VA_ARGS__);',
    "HLS4ATTN_PACK(word)": 'static_assert(sizeof((word)) > 0, "HLS4ATTN_PACK " #word);',
    "HLS4ATTN_CYCLES(...)": 'static_assert((__VA_ARGS__) >= 1, "HLS4ATTN_CYCLES " #__VA_ARGS__);',
}
_PRAGMA = re.compile(r"^([ \t]*)#[ \t]*pragma\b(.*)$", re.MULTILINE)
_MARK = re.compile(r"^([ \t]*#[ \t]*define )(HLS4ATTN_\w+).*$", re.MULTILINE)
_ROM = re.compile(r"(\bstatic const [\w ]+ \w+\[\d+\] = )\{([-\d, \nL]+)\};")
_VARIABLE = re.compile(r"[A-Za-z_]\w*")


def instrument(text: str) -> tuple[str, list[tuple[int, str]]]:
    """Source text with directives and marks as static_asserts.

    Returns:
        The text, and line and message for each directive that nobody knows.
    """
    found: list[tuple[int, str]] = []

    def pragma(match: re.Match[str]) -> str:
        said, problems = _assertion(match[2].split("//")[0].split())
        line = text.count("\n", 0, match.start()) + 1
        found.extend((line, p) for p in problems)
        return match[1] + said

    changed = _PRAGMA.sub(pragma, text)
    changed = _MARK.sub(_mark, changed)
    if "_Pragma" in changed:  # a mark's own is gone
        found.append((changed.count("\n", 0, changed.index("_Pragma")) + 1, "_Pragma is out of this check's sight"))
    # Lists of plain integers are constants to see, and large: one entry is enough to look at.
    return _ROM.sub(lambda m: f"{m[1]}{{0}};" + "\n" * m[2].count("\n"), changed), found


def _mark(match: re.Match[str]) -> str:
    for head, body in MARKS.items():
        if head.split("(")[0] == match[2]:
            return f"{match[1]}{head} {body}"
    return match[0]


def _assertion(words: list[str]) -> tuple[str, list[str]]:
    """A directive's static_assert, and what is wrong with its words."""
    text = " ".join(["#pragma", *words])
    if words[:1] != ["HLS"] or words[1:2] == []:
        return "", [f"{text}: only HLS directives"]
    known = DIRECTIVES.get(words[1])
    if known is None:
        return "", [f"{text}: {words[1]} is none of {', '.join(DIRECTIVES)}"]
    conditions, problems, given = [], [], set()
    for word in words[2:]:
        name, equals, value = word.partition("=")
        given.add(name)
        wanted = known.options.get(name)
        if not (wanted if equals else name in known.flags):
            problems.append(f"{text}: {words[1]} has no {'option' if equals else 'flag'} {name}")
        elif wanted == PORT and value == "return":
            continue
        elif wanted in (VARIABLE, PORT):
            if _VARIABLE.fullmatch(value):
                conditions.append(f"sizeof(({value})) > 0")
            else:
                problems.append(f"{text}: {value!r} is no variable")
        elif wanted in (FROM_1, FROM_0):
            conditions.append(f"({value}) >= {1 if wanted == FROM_1 else 0}")
        elif equals and value not in (wanted or ()):
            problems.append(f"{text}: {name} is none of {', '.join(sorted(wanted or ()))}")
    problems += [f"{text}: no {name}" for name in sorted(known.needed - given)]
    if known is _ARRAY and ("factor" in given) == (not given & {"block", "cyclic"}):
        problems.append(f"{text}: a factor belongs to block or cyclic")
    return f'static_assert({" && ".join(conditions) or "true"}, "{text}");', problems
