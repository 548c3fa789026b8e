# SPDX-License-Identifier: Apache-2.0
"""Rules on directives and on the marks of the dataflow simulation, which are static_asserts here."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hls_lint.code import Code, rule, strip
from hls_lint.pragmas import OF_FUNCTIONS, OF_LOOPS
from hls_lint.tree import Node


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
        elif _option(text, "variable"):
            wrong = _named(code, node, text, function)
            if wrong:
                yield node, f"{text}: {wrong}"
        elif _is_about(text, *OF_LOOPS):
            leading = block.children[: block.children.index(_statement(node))]
            if block.parent.kind != "ForStmt" or not all(map(_text, leading)):
                yield node, f"{text} is not at the head of a loop"
            loops_above = [n for n in block.parent.above() if n.kind == "ForStmt"]
            if _is_about(text, "PIPELINE") and any(_leads(n, "PIPELINE") for n in loops_above):
                yield node, f"{text} is inside another PIPELINE, which unrolls this loop"
        elif _is_about(text, *OF_FUNCTIONS) and block.parent is not function:
            yield node, f"{text} is not in the outer block of its function"


def _named(code: Code, node: Node, text: str, function: Node) -> str:
    """What is wrong with the variable that a directive names."""
    name, kind = _option(text, "variable"), text.split("_", maxsplit=1)[0]
    variable = next(n for n in node.walk() if n.kind in {"DeclRefExpr", "MemberExpr"})
    declared = code.declared(variable)
    if variable.kind == "MemberExpr" or declared is None or declared.function() is not function:
        return f"{name} is not declared in {function.name}"
    if kind in {"ARRAY", "BIND"} and not re.search(r"[\[*]", variable.type):
        return f"{name} is no array"
    if _is_about(text, "STREAM") and "stream<" not in variable.type:
        return f"{name} is no stream"
    return ""


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
def exits(code: Code) -> Iterator[tuple[Node, str]]:
    """A pipeline starts an iteration before the one ahead has found out that it was the last."""
    for loop in code.decided:
        if loop.kind == "ForStmt" and _leads(loop, "PIPELINE"):
            for node in loop.children[-1].walk():
                own = next(n for n in node.above() if n.kind in {"ForStmt", "SwitchStmt"}) is loop
                if node.kind == "ReturnStmt" or (node.kind == "BreakStmt" and own):
                    yield node, f"{node.kind} leaves a pipelined loop: its end belongs into the loop's condition"


@rule
def words(code: Code) -> Iterator[tuple[Node, str]]:
    """A word that is a struct takes a FIFO for each of its fields unless Vivado HLS is told to pack it.

    A word of a port must not be packed: its fields are the channels of an AXI4-Stream.
    """
    for function in code.functions:
        body = function.body
        assert body is not None
        written = set()
        for call in body.walk():
            if call.kind != "CXXMemberCallExpr" or call.children[0].name != "write":
                continue
            if "stream<" not in call.children[0].children[0].type:
                continue
            variable = code.declared(strip(call.children[1]))
            declared = variable and variable.kind == "VarDecl" and variable.function() is function
            packed = variable is not None and f"PACK {variable.name}" in _beside(variable)
            if variable is None or not declared:
                yield call, "write() takes a variable of this function, with HLS4ATTN_PACK"
            elif "axis_word<" in call.children[0].children[0].type:
                if packed:
                    yield call, f"{variable.name} is a word of a port, whose fields HLS4ATTN_PACK would join"
                written.add(id(_statement(variable).parent))
            elif not packed:
                yield call, f"{variable.name} is written to a stream and has no HLS4ATTN_PACK"
            else:
                written.add(id(_statement(variable).parent))
        for node in body.walk():
            if node.kind == "DeclStmt" and _is_about(_text(node), "PACK") and id(node.parent) not in written:
                yield node, f"HLS4ATTN_{_text(node)}: no such word is written to a stream"


def _beside(variable: Node) -> set[str]:
    """Directives and marks in the block that declares a variable."""
    block = _statement(variable).parent
    return {_text(n) for n in block.children} if block is not None else set()


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
            elif strip(statement).kind != "CallExpr" or k == 0 or not processes[k - 1]:
                yield statement, f"{strip(statement).kind} outside of HLS4ATTN_PROCESS"
        if not _is_about(texts[-1], "JOIN"):
            yield function, f"{function.name} does not end in HLS4ATTN_JOIN"
