# SPDX-License-Identifier: Apache-2.0
"""What the rules look up in a tree: constants, storage, what a name refers to; and the list of the rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from hls_lint.tree import Node, Tree

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
        return self._by_id.get(target(node))

    def is_constant(self, node: Node) -> bool:
        """Whether an initialiser or a bound is an integer constant expression."""
        kind, inner = node.kind, node.children
        if kind in LITERALS:
            return True
        if kind in {"DeclRefExpr", "MemberExpr"}:
            return self._is_constant_name(node)
        if kind == "CallExpr":
            called = self.declared(strip(inner[0]))
            return called is not None and is_constexpr(called) and all(self.is_constant(a) for a in inner[1:])
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
        if not is_const(referenced["type"]):
            return False
        if variable is None:  # a member of the vendor's types
            return True
        if variable.id not in self._constant:
            self._constant[variable.id] = False
            value = initialiser(variable)
            self._constant[variable.id] = value is not None and self.is_constant(value)
        return self._constant[variable.id]


LITERALS = frozenset(
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


def target(node: Node) -> str:
    return str(node.raw.get("referencedDecl", {}).get("id") or node.raw.get("referencedMemberDecl") or "")


def strip(node: Node) -> Node:
    """The expression inside casts and parentheses."""
    while node.kind in {"ImplicitCastExpr", "ParenExpr", "ExprWithCleanups"} and node.children:
        node = node.children[0]
    return node


def is_constexpr(function: Node) -> bool:
    return bool(function.raw.get("constexpr"))


def is_const(t: Mapping[str, str]) -> bool:
    for text in (t.get("qualType", ""), t.get("desugaredQualType", "")):
        if "&" not in text and (text.endswith("const") if "*" in text else text.startswith("const ")):
            return True
    return False


def initialiser(variable: Node) -> Node | None:
    return variable.children[-1] if "init" in variable.raw and variable.children else None


def is_static(node: Node) -> bool:
    if node.kind != "VarDecl":
        return False
    local = node.function() is not None
    return not local or node.raw.get("storageClass") in {"static", "extern"} or "tls" in node.raw


def is_fixed(node: Node) -> bool:
    """Whether a declaration's value is computed by the compiler: of a static or constexpr constant, an enumerator."""
    if node.kind in {"EnumConstantDecl", "StaticAssertDecl", "TemplateArgument", "ConstantExpr"}:
        return True
    return node.kind == "VarDecl" and (
        bool(node.raw.get("constexpr")) or (is_static(node) and is_const(node.raw["type"]))
    )
