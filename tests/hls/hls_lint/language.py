# SPDX-License-Identifier: Apache-2.0
"""Rules on C++: what hardware does not have, and what data may be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from hls_lint.code import LITERALS, Code, initialiser, is_const, is_constexpr, is_fixed, is_static, rule, strip, target
from hls_lint.tree import Node

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
            first.get(t, t) for n in body.walk() if (t := target(n)) and not any(map(is_fixed, _inside(n, body)))
        } & set(bodies)
    running = _reachable(calls, {i for i, f in bodies.items() if not is_constexpr(f)})
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
            referenced = strip(node.children[0]).raw.get("referencedDecl", {})
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
    start = initialiser(i)
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
        if use.kind == "DeclRefExpr" and target(use) == i.id and not _is_read(use):
            wrong = f"is changed, or can be, in line {use.line}"
    return wrong and f"{i.name} {wrong}"


def _is_bound(code: Code, condition: Node, variable: Node) -> bool:
    if condition.kind != "BinaryOperator" or condition.raw["opcode"] not in {"<", "<=", ">", ">="}:
        return False
    return target(strip(condition.children[0])) == variable.id and code.is_constant(condition.children[1])


def _steps(code: Code, step: Node, variable: Node, up: bool) -> bool:
    if not step.children or target(strip(step.children[0])) != variable.id:
        return False
    opcode = step.raw.get("opcode")
    if step.kind == "UnaryOperator":
        return opcode == ("++" if up else "--")
    by = step.children[1] if step.kind == "CompoundAssignOperator" else None
    return by is not None and opcode == ("+=" if up else "-=") and code.is_constant(by) and strip(by).kind in LITERALS


def _is_read(use: Node) -> bool:
    above = use.parent
    while above is not None and above.kind == "ParenExpr":
        above = above.parent
    if above is None or above.kind != "ImplicitCastExpr":
        return False
    return above.raw["castKind"] == "LValueToRValue" or above.raw["type"]["qualType"].startswith("const ")


@rule
def constants(code: Code) -> Iterator[tuple[Node, str]]:
    """A ROM's content is in the bit file; code that fills it would be a circuit that runs once, or is refused."""
    for node in code.decided:
        if not is_static(node) or not (is_const(node.raw["type"]) or node.raw.get("constexpr")):
            continue
        value = initialiser(node)
        if value is None:
            used = node.raw.get("isReferenced") or node.raw.get("isUsed")
            if node.function() is not None or (used and node.raw.get("storageClass") == "extern"):
                yield node, f"{node.name} has no value here"
        elif not code.is_constant(value):
            yield node, f"{node.name} is not initialised by integer constant expressions"


@rule
def state(code: Code) -> Iterator[tuple[Node, str]]:
    """A kernel's result depends on its operands alone: nothing is kept from one call to the next.

    Gain cells remember, in variables of a function whose names say so.
    """
    for node in code.nodes:
        said = node.function() is not None and node.name.startswith("kept_")
        if is_static(node) and not said and not is_const(node.raw["type"]) and not node.raw.get("constexpr"):
            yield node, f"{node.name} is kept from one call to the next, and not const"


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
