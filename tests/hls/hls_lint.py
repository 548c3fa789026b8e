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
    constants   a constant, a table above all, that code must run to fill
    state       static or global data that is not const
    directives  a #pragma HLS that is unknown, misspelt, out of place, or names what does not exist there
    timing      in a streaming process: a PIPELINE loop that does not end in HLS4ATTN_CYCLES of its II, and the
                reverse; a process without HLS4ATTN_LATENCY; a STREAM without its HLS4ATTN_DEPTH, and the reverse
    region      in a DATAFLOW function: anything but declarations, HLS4ATTN_PROCESS and a last HLS4ATTN_JOIN
    unlinted    a function of a header that no linted unit instantiates: nothing was checked in it
    compiles    what clang refuses

Units are compiled as in synthesis (__SYNTHESIS__ is set once the vendor's open headers, which refuse it, are read).
The vendor's headers and the simulation's are exempt.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hls_ast import Node, Tree, parse
from hls_pragmas import OF_FUNCTIONS, OF_LOOPS, instrument
from hls_units import SYNTHESIS, bare, namespaces

from hls4attn.hls.compiler import ap_types_dir, cache_dir
from hls4attn.models.files import atomic_write


@dataclass(frozen=True, order=True)
class Finding:
    """What a rule refuses, and where."""

    file: str
    line: int
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.rule}: {self.text}"


#: A rule yields nodes and what is wrong with them.
Rule = Callable[["Code"], Iterator[tuple[Node, str]]]
RULES: dict[str, Rule] = {}


def rule(function: Rule) -> Rule:
    """Enter a rule under its function's name; its docstring says why it is one."""
    RULES[function.__name__.rstrip("_")] = function
    return function


class Code:
    """A tree with what the rules look up.

    Attributes:
        nodes: all of them, in order.
        decided: those that are not in a template's pattern.
        functions: decided functions with a body.
    """

    def __init__(self, tree: Tree) -> None:
        self.nodes = list(tree.walk())
        self.decided = [n for n in self.nodes if not n.dependent]
        self.functions = [n for n in self.decided if n.is_function and n.body]
        self._by_id = {n.id: n for n in self.nodes if n.kind.endswith("Decl") and n.raw.get("loc")}
        self._constant: dict[str, bool] = {}

    def declared(self, node: Node) -> Node | None:
        """What an expression refers to, if it is declared in this code."""
        return self._by_id.get(_target(node))

    def is_constant(self, node: Node) -> bool:
        """Whether an initialiser or a bound is an integer constant expression."""
        kind, inner = node.kind, node.children
        if kind in _LITERALS:
            return True
        if kind in {"DeclRefExpr", "MemberExpr"}:
            return self._is_constant_name(node)
        if kind == "CallExpr":
            called = self.declared(_strip(inner[0]))
            return called is not None and _is_constexpr(called) and all(self.is_constant(a) for a in inner[1:])
        if "castKind" in node.raw and node.raw["castKind"] not in _INTEGRAL_CASTS:
            return False
        if kind == "UnaryOperator" and node.raw.get("opcode") not in {"-", "+", "~", "!"}:
            return False
        return kind in _TRANSPARENT and all(self.is_constant(c) for c in inner)

    def _is_constant_name(self, node: Node) -> bool:
        variable = self.declared(node)
        referenced = variable.raw if variable else node.raw.get("referencedDecl", {})
        if referenced.get("kind") != "VarDecl":
            return referenced.get("kind") in {"EnumConstantDecl", "NonTypeTemplateParmDecl"}
        if not _is_const(referenced["type"]):
            return False
        if variable is None:  # a member of the vendor's types
            return True
        if variable.id not in self._constant:
            self._constant[variable.id] = False
            value = _initialiser(variable)
            self._constant[variable.id] = value is not None and self.is_constant(value)
        return self._constant[variable.id]


_LITERALS = frozenset(
    {
        "IntegerLiteral",
        "CharacterLiteral",
        "CXXBoolLiteralExpr",
        "ConstantExpr",
        "SubstNonTypeTemplateParmExpr",
        "UnaryExprOrTypeTraitExpr",
        "ImplicitValueInitExpr",
    }
)
_TRANSPARENT = frozenset(
    {
        "ImplicitCastExpr",
        "CStyleCastExpr",
        "CXXFunctionalCastExpr",
        "CXXStaticCastExpr",
        "ParenExpr",
        "UnaryOperator",
        "BinaryOperator",
        "ConditionalOperator",
        "InitListExpr",
    }
)
_INTEGRAL_CASTS = frozenset({"IntegralCast", "IntegralToBoolean", "LValueToRValue", "NoOp"})


def _target(node: Node) -> str:
    return str(node.raw.get("referencedDecl", {}).get("id") or node.raw.get("referencedMemberDecl") or "")


def _strip(node: Node) -> Node:
    """The expression inside casts and parentheses."""
    while node.kind in {"ImplicitCastExpr", "ParenExpr", "ExprWithCleanups"} and node.children:
        node = node.children[0]
    return node


def _is_constexpr(function: Node) -> bool:
    return bool(function.raw.get("constexpr"))


def _is_const(t: Mapping[str, str]) -> bool:
    for text in (t.get("qualType", ""), t.get("desugaredQualType", "")):
        if "&" not in text and (text.endswith("const") if "*" in text else text.startswith("const ")):
            return True
    return False


def _initialiser(variable: Node) -> Node | None:
    return variable.children[-1] if "init" in variable.raw and variable.children else None


def _is_static(node: Node) -> bool:
    if node.kind != "VarDecl":
        return False
    local = node.function() is not None
    return not local or node.raw.get("storageClass") in {"static", "extern"} or "tls" in node.raw


def _is_fixed(node: Node) -> bool:
    """Whether a declaration's value is computed by the compiler: of a static or constexpr constant, an enumerator."""
    if node.kind in {"EnumConstantDecl", "StaticAssertDecl", "TemplateArgument", "ConstantExpr"}:
        return True
    return node.kind == "VarDecl" and (
        bool(node.raw.get("constexpr")) or (_is_static(node) and _is_const(node.raw["type"]))
    )


# ---- what hardware does not have ------------------------------------------------------------------------------------

_FLOAT = re.compile(r"\b(float|double|_Float16|__fp16|__bf16|__float128)\b|^half\b")
_STD = re.compile(r"\bstd::")
_RUN_TIME_SIZE = re.compile(r"\[[^\]]*[A-Za-z_]")
_FUNCTION_POINTER = re.compile(r"\((?:\w+::)*[*&]\w*( const)?\)\(|::\*")
_NODES = {
    "CXXNewExpr": ("memory", "new"),
    "CXXDeleteExpr": ("memory", "delete"),
    "CXXDynamicCastExpr": ("dispatch", "dynamic_cast"),
    "CXXTypeidExpr": ("dispatch", "typeid"),
    "CXXThrowExpr": ("jumps", "throw"),
    "CXXTryStmt": ("jumps", "try"),
    "GotoStmt": ("jumps", "goto"),
    "IndirectGotoStmt": ("jumps", "goto"),
    "GCCAsmStmt": ("jumps", "asm"),
    "MSAsmStmt": ("jumps", "asm"),
    "WhileStmt": ("loops", "while: its number of iterations is not visible"),
    "DoStmt": ("loops", "do: its number of iterations is not visible"),
    "CXXForRangeStmt": ("loops", "range-for: no directive can name its loop"),
}


def _nodes(code: Code, name: str) -> Iterator[tuple[Node, str]]:
    for node in code.nodes:
        kind = _NODES.get(node.kind)
        if kind and kind[0] == name:
            yield node, kind[1]


@rule
def float_(code: Code) -> Iterator[tuple[Node, str]]:
    """Results are exact integers; a float costs a core of its own and rounds where nobody said how."""
    for node in code.nodes:
        if node.kind == "FloatingLiteral":
            yield node, f"the literal {node.raw.get('value')}"
        elif not node.kind.endswith("Type") and _FLOAT.search(node.type):
            yield node, f"{node.name or node.kind} has the type {node.raw['type']['qualType']}"


@rule
def library(code: Code) -> Iterator[tuple[Node, str]]:
    """Functions of std, of C and of the vendor's mathematics are not the same in simulation and in hardware."""
    for node in code.decided:
        referenced = node.raw.get("referencedDecl", {})
        if referenced.get("kind") not in {"FunctionDecl", "CXXMethodDecl"} or code.declared(node):
            continue
        if not referenced["name"].startswith("operator"):
            yield node, f"{referenced['name']} is not a function of these headers"


@rule
def memory(code: Code) -> Iterator[tuple[Node, str]]:
    """There is no heap: every array is a memory of a size known when the circuit is made."""
    yield from _nodes(code, "memory")
    for node in code.nodes:
        if _STD.search(node.type) and not any("hls::stream<" in n.type for n in (node, *node.above())):
            yield node, f"{node.name or node.kind} has the type {node.raw['type']['qualType']}"
    for node in code.decided:
        size = node.raw.get("type", {})
        if node.kind == "VarDecl" and _RUN_TIME_SIZE.search(size.get("desugaredQualType", size.get("qualType", ""))):
            yield node, f"{node.name} has a size known only at run time: {size['qualType']}"


@rule
def recursion(code: Code) -> Iterator[tuple[Node, str]]:
    """A function is a circuit; there is no stack to call it again from inside."""
    calls: dict[str, set[str]] = {}
    functions = {f.id: f for f in code.functions}
    first = {f.id: f.raw.get("previousDecl", f.id) for f in code.functions}
    bodies = {first[i]: f for i, f in functions.items()}
    for function in code.functions:
        body = function.body
        assert body is not None
        calls[first[function.id]] = {
            first.get(t, t) for n in body.walk() if (t := _target(n)) and not any(map(_is_fixed, _inside(n, body)))
        } & set(bodies)
    running = _reachable(calls, {i for i, f in bodies.items() if not _is_constexpr(f)})
    for i in running:
        if i in _reachable(calls, calls[i]):
            yield bodies[i], f"{bodies[i].name} calls itself, directly or not"


def _inside(node: Node, top: Node) -> Iterator[Node]:
    for above in node.above():
        if above is top:
            return
        yield above


def _reachable(calls: Mapping[str, set[str]], start: set[str]) -> set[str]:
    seen, queue = set(start), list(start)
    while queue:
        new = calls[queue.pop()] - seen
        seen |= new
        queue.extend(new)
    return seen


@rule
def dispatch(code: Code) -> Iterator[tuple[Node, str]]:
    """Which circuit a call means must be known when the circuit is made."""
    yield from _nodes(code, "dispatch")
    for node in code.nodes:
        if node.raw.get("virtual"):
            yield node, f"{node.name} is virtual"
        declares = node.kind in {"VarDecl", "ParmVarDecl", "FieldDecl", "TypedefDecl", "TypeAliasDecl"}
        if declares and _FUNCTION_POINTER.search(node.type):
            yield node, f"{node.name} points to functions: {node.raw['type']['qualType']}"
    for node in code.decided:
        decays = node.raw.get("castKind") == "FunctionToPointerDecay" and not _is_callee(node)
        if decays or (node.kind == "UnaryOperator" and node.raw["opcode"] == "&"):
            referenced = _strip(node.children[0]).raw.get("referencedDecl", {})
            if referenced.get("kind") in {"FunctionDecl", "CXXMethodDecl"}:
                yield node, f"the address of {referenced['name']}"


def _is_callee(node: Node) -> bool:
    above = node.parent
    return above is not None and above.kind in {"CallExpr", "CXXOperatorCallExpr"} and above.children[0] is node


@rule
def jumps(code: Code) -> Iterator[tuple[Node, str]]:
    """The schedule is made of loops and branches; these leave it."""
    yield from _nodes(code, "jumps")


@rule
def loops(code: Code) -> Iterator[tuple[Node, str]]:
    """Latency and memories follow from trip counts, so each has a constant bound; a break may end it earlier."""
    yield from _nodes(code, "loops")
    for node in code.decided:
        if node.kind == "ForStmt" and (wrong := _loop(code, node)):
            yield node, wrong


def _loop(code: Code, loop: Node) -> str | None:
    init, _, condition, step, body = loop.children
    variables = init.children if init.kind == "DeclStmt" else []
    if len(variables) != 1 or variables[0].kind != "VarDecl":
        return "it declares no variable of its own, or several"
    i = variables[0]
    start = _initialiser(i)
    while condition.raw.get("opcode") == "&&":
        condition = condition.children[0]
    up = condition.raw.get("opcode") in {"<", "<="}
    wrong = None
    if start is None or not code.is_constant(start):
        wrong = "does not start at a constant"
    elif not _is_bound(code, condition, i):
        wrong = "is not compared with a constant by <, <=, > or >=, first of all"
    elif not _steps(code, step, i, up):
        wrong = "does not step towards its bound by a literal"
    for use in body.walk():
        if use.kind == "DeclRefExpr" and _target(use) == i.id and not _is_read(use):
            wrong = f"is changed, or can be, in line {use.line}"
    return wrong and f"{i.name} {wrong}"


def _is_bound(code: Code, condition: Node, variable: Node) -> bool:
    if condition.kind != "BinaryOperator" or condition.raw["opcode"] not in {"<", "<=", ">", ">="}:
        return False
    return _target(_strip(condition.children[0])) == variable.id and code.is_constant(condition.children[1])


def _steps(code: Code, step: Node, variable: Node, up: bool) -> bool:
    if not step.children or _target(_strip(step.children[0])) != variable.id:
        return False
    opcode = step.raw.get("opcode")
    if step.kind == "UnaryOperator":
        return opcode == ("++" if up else "--")
    by = step.children[1] if step.kind == "CompoundAssignOperator" else None
    return by is not None and opcode == ("+=" if up else "-=") and code.is_constant(by) and _strip(by).kind in _LITERALS


def _is_read(use: Node) -> bool:
    above = use.parent
    while above is not None and above.kind == "ParenExpr":
        above = above.parent
    if above is None or above.kind != "ImplicitCastExpr":
        return False
    return above.raw["castKind"] == "LValueToRValue" or above.raw["type"]["qualType"].startswith("const ")


# ---- data -----------------------------------------------------------------------------------------------------------


@rule
def constants(code: Code) -> Iterator[tuple[Node, str]]:
    """A ROM's content is in the bit file; code that fills it would be a circuit that runs once, or is refused."""
    for node in code.decided:
        if not _is_static(node) or not (_is_const(node.raw["type"]) or node.raw.get("constexpr")):
            continue
        value = _initialiser(node)
        if value is None:
            used = node.raw.get("isReferenced") or node.raw.get("isUsed")
            if node.function() is not None or (used and node.raw.get("storageClass") == "extern"):
                yield node, f"{node.name} has no value here"
        elif not code.is_constant(value):
            yield node, f"{node.name} is not initialised by integer constant expressions"


@rule
def state(code: Code) -> Iterator[tuple[Node, str]]:
    """A kernel's result depends on its operands alone: nothing is kept from one call to the next."""
    for node in code.nodes:
        if _is_static(node) and not _is_const(node.raw["type"]) and not node.raw.get("constexpr"):
            yield node, f"{node.name} is kept from one call to the next, and not const"


# ---- directives and marks -------------------------------------------------------------------------------------------


def _text(node: Node) -> str:
    """Text of a directive or a mark, without `#pragma HLS` and the marks' common prefix; empty for others."""
    if node.kind == "DeclStmt" and len(node.children) == 1:
        node = node.children[0]
    if node.kind != "StaticAssertDecl" or not node.children:
        return ""
    match = re.match(r'"(?:#pragma HLS |HLS4ATTN_)(.*)"$', str(node.children[-1].raw.get("value", "")))
    return match[1] if match else ""


def _option(text: str, name: str) -> str:
    match = re.search(rf"\b{name}=(\S+)", text)
    return match[1] if match else ""


def _is_about(text: str, *names: str) -> bool:
    return text.split(" ", 1)[0] in names


@rule
def directives(code: Code) -> Iterator[tuple[Node, str]]:
    """Tools ignore a directive that they do not understand, and the circuit is another one than was planned."""
    for node in code.decided:
        text = _text(node) if node.kind == "StaticAssertDecl" else ""
        if not text:
            continue
        function = node.function()
        block = next((n for n in node.above() if n.kind == "CompoundStmt"), None)
        if function is None or block is None or block.parent is None:
            yield node, f"{text} is outside of a function"
        elif _is_about(text, *OF_LOOPS):
            leading = block.children[: block.children.index(_statement(node))]
            if block.parent.kind != "ForStmt" or not all(map(_text, leading)):
                yield node, f"{text} is not at the head of a loop"
            loops_above = [n for n in block.parent.above() if n.kind == "ForStmt"]
            if _is_about(text, "PIPELINE") and any(_leads(n, "PIPELINE") for n in loops_above):
                yield node, f"{text} is inside another PIPELINE, which unrolls this loop"
        elif _is_about(text, *OF_FUNCTIONS) and block.parent is not function:
            yield node, f"{text} is not in the outer block of its function"


def _statement(node: Node) -> Node:
    return node.parent if node.parent is not None and node.parent.kind == "DeclStmt" else node


def _statements(block: Node | None) -> list[Node]:
    return [c for c in block.children if c.kind != "NullStmt"] if block is not None else []


def _leads(loop: Node, name: str) -> str:
    """The directive of that name in a loop, if there is one."""
    texts = (_text(c) for c in _statements(loop.children[-1]) if loop.children[-1].kind == "CompoundStmt")
    return next((t for t in texts if _is_about(t, name)), "")


@rule
def timing(code: Code) -> Iterator[tuple[Node, str]]:
    """The timed simulation counts what the marks say; it is right only if the hardware is told the same."""
    for function in code.functions:
        body = function.body
        assert body is not None
        marks = [(n, t) for n in body.walk() if n.kind == "StaticAssertDecl" and (t := _text(n))]
        yield from _depths(marks)
        streams = any("stream<" in p.type for p in function.children if p.kind == "ParmVarDecl")
        if streams or any(_is_about(t, "CYCLES", "LATENCY") for _, t in marks):
            yield from _cycles(function, marks)


def _cycles(function: Node, marks: list[tuple[Node, str]]) -> Iterator[tuple[Node, str]]:
    body = function.body
    assert body is not None
    ends = set()
    pipelines = [n for n in body.walk() if n.kind == "ForStmt" and _leads(n, "PIPELINE")]
    for loop in pipelines:
        wanted = _option(_leads(loop, "PIPELINE"), "II")
        last = _statements(loop.children[-1])[-1]
        ends.add(id(last))
        if not wanted:
            yield loop, "a pipelined loop of a process states its II"
        elif not _is_about(_text(last), "CYCLES") or _text(last).split(" ", 1)[1].replace(" ", "") != wanted:
            yield loop, f"a loop of II={wanted} ends in HLS4ATTN_CYCLES({wanted})"
        for node in loop.children[-1].walk():
            if node.kind == "ContinueStmt" and next(n for n in node.above() if n.kind == "ForStmt") is loop:
                yield node, "continue passes HLS4ATTN_CYCLES by"
    for node, text in marks:
        if _is_about(text, "CYCLES") and id(_statement(node)) not in ends:
            yield node, f"HLS4ATTN_{text} is not at the end of a pipelined loop"
    head = []
    for statement in _statements(body):
        if statement.kind != "DeclStmt":
            break
        head.append(_text(statement))
    latencies = sum(_is_about(t, "LATENCY") for _, t in marks)
    if (pipelines or latencies) and (latencies != 1 or not any(_is_about(t, "LATENCY") for t in head)):
        yield function, f"{function.name}: a process starts with one HLS4ATTN_LATENCY"


def _depths(marks: list[tuple[Node, str]]) -> Iterator[tuple[Node, str]]:
    said = {(_option(t, "variable"), _option(t, "depth")): n for n, t in marks if _is_about(t, "STREAM")}
    marked = {}
    for node, text in marks:
        if _is_about(text, "DEPTH"):
            _, name, *words = text.split(" ")
            marked[name, "".join(words)] = node
    for name, depth in said.keys() ^ marked.keys():
        node = said.get((name, depth)) or marked[name, depth]
        yield node, f"{name}: STREAM depth={depth} and HLS4ATTN_DEPTH({name}, {depth}) go together"


@rule
def region(code: Code) -> Iterator[tuple[Node, str]]:
    """DATAFLOW takes calls and their channels only; the simulation runs a call beside others only if it is marked."""
    for function in code.functions:
        statements = _statements(function.body)
        texts = [_text(s) for s in statements]
        processes = [_is_about(t, "PROCESS", "REGION") for t in texts]
        if not any(_is_about(t, "DATAFLOW") for t in texts):
            if any(processes):
                yield function, f"{function.name} has processes and no DATAFLOW"
            continue
        for k, (statement, text) in enumerate(zip(statements, texts, strict=True)):
            if statement.kind == "DeclStmt":
                if _is_about(text, "JOIN") and k != len(statements) - 1:
                    yield statement, "HLS4ATTN_JOIN is not the last statement"
            elif _strip(statement).kind != "CallExpr" or k == 0 or not processes[k - 1]:
                yield statement, f"{_strip(statement).kind} outside of HLS4ATTN_PROCESS"
        if not _is_about(texts[-1], "JOIN"):
            yield function, f"{function.name} does not end in HLS4ATTN_JOIN"


# ---- all of it ------------------------------------------------------------------------------------------------------


@rule
def unlinted(code: Code) -> Iterator[tuple[Node, str]]:
    """A template that is never instantiated is text: none of these rules has seen its types and calls."""
    seen = {(n.file, n.line, _bare_name(n)) for n in code.functions}
    for node in code.nodes:
        if node.dependent and node.is_function and node.body and (node.file, node.line, _bare_name(node)) not in seen:
            yield node, f"{node.name} is instantiated in no unit"


def _bare_name(function: Node) -> str:
    """Without the parameters that a pattern's constructor shows."""
    return function.name.split("<")[0]


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
