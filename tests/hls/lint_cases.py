# SPDX-License-Identifier: Apache-2.0
"""For every rule of the lint: a snippet that breaks it, and its twin that does not."""

from __future__ import annotations

#: A kernel with ports, that remembers.
_KEPT = """void top(int x[8]) {
    #pragma HLS INTERFACE ap_ctrl_none port=return
    static int kept_sum = 0;
    #pragma HLS RESET variable=kept_sum
    kept_sum += x[0];
    x[1] = kept_sum;
}"""
#: A loop; the cases change its head or its body.
_LOOP = """void top(int x[8], int n) {
    for (int i = 0; i < 8; i++) {
        #pragma HLS UNROLL
        x[i] += n;
    }
}"""
#: An array with its directives.
_ARRAY = """struct config { static const int banks = 2; };
template <typename CONFIG_T> void fill(int x[8]) {
    #pragma HLS INLINE
    int acc[8];
    #pragma HLS ARRAY_PARTITION variable=acc cyclic factor=CONFIG_T::banks
    for (int i = 0; i < 8; i++) {
        #pragma HLS PIPELINE II=1
        acc[i] = x[i];
        x[i] = acc[7 - i];
    }
}
void top(int x[8]) { fill<config>(x); }"""

#: Rule, code that passes, what is replaced in it, by what, and how the finding reads.
CASES: list[tuple[str, str, str, str, str]] = [
    ("float", "int top(int a) { return a / 2; }", "a / 2", "int(a / 2.0)", "1: .*the literal 2"),
    ("float", "int top(int a) { return a; }", "{ return", "{ float b = a; return", "1: .*b has the type float"),
    (
        "float",
        "typedef int real; int top(int a) { return real(a); }",
        "typedef int",
        "typedef double",
        "real has the type double",
    ),
    (
        "float",
        "int top(ap_fixed<8, 4> a) { return a.to_int(); }",
        "to_int",
        "to_double",
        "CXXMemberCallExpr has the type double",
    ),
    (
        "float",
        "template <class T> T half_of(T a) { return a / 2; }\nint top(int a) { return half_of(a); }",
        "half_of(a)",
        "half_of<float>(a)",
        "a has the type float",
    ),
    ("library", "int top(int a) { return a > 0 ? a : -a; }", "a > 0 ? a : -a", "std::abs(a)", "abs is not a function"),
    (
        "library",
        "int f(int a) { return a * a; } int top(int a) { return f(a); }",
        "f(a);",
        "__builtin_popcount(a);",
        "__builtin_popcount is not a",
    ),
    ("memory", "int top(int n) { int x[4] = {n}; return x[0]; }", "x[4] = {n}", "*x = new int[4]", ": new"),
    ("memory", "void top(int *x) { x[0] = 0; }", "x[0] = 0", "delete[] x", ": delete"),
    (
        "memory",
        "int top(int n) { int x[4]; x[0] = n; return x[0]; }",
        "x[4]",
        "x[n]",
        "x has a size known only at run time: int",
    ),
    (
        "memory",
        "int top(int n) { ap_int<8> x = n; return x; }",
        "ap_int<8> x = n; return x",
        "std::string x(n, 'a'); return int(x.size())",
        "x has the type std::string",
    ),
    (
        "recursion",
        "int f(int n) { return n > 0 ? n : 0; } int top(int n) { return f(n); }",
        "? n :",
        "? f(n - 1) :",
        "f calls itself",
    ),
    (
        "recursion",
        "int g(int n);\nint f(int n) { return g(n); }\nint g(int n) { return n; }\nint top(int n) { return f(n); }",
        "return n;",
        "return n > 0 ? f(n) : 0;",
        "[23]: .*(f|g) calls itself",
    ),
    (
        "recursion",
        "constexpr int f(int n) { return n > 0 ? 1 + f(n / 2) : 0; }\n"
        "int top(int n) { static const int bits = f(9); return n + bits; }",
        "n + bits",
        "f(n) + bits",
        "1: .*f calls itself",
    ),
    (
        "recursion",
        "template <int N> int f(int n) { return f<N - 1>(n); }\ntemplate <> int f<0>(int n) { return n; }\n"
        "int top(int n) { return f<3>(n); }",
        "return n;",
        "return n > 0 ? f<3>(n - 1) : n;",
        "f calls itself",
    ),
    (
        "dispatch",
        "struct s { int f() const { return 1; } }; int top() { s x; return x.f(); }",
        "int f()",
        "virtual int f()",
        "f is virtual",
    ),
    (
        "dispatch",
        "int f(int n) { return n; } int top(int n) { return f(n); }",
        "return f(n)",
        "int (*p)(int) = f; return p(n)",
        "p points to functions",
    ),
    (
        "dispatch",
        "int f(int n) { return n; } int top(int n) { return f(n); }",
        "return f(n)",
        "return (&f)(n)",
        "the address of f",
    ),
    (
        "dispatch",
        "struct s { int f; }; int top() { s x = {1}; return x.f; }",
        "return x.f",
        "int s::*p = &s::f; return x.*p",
        "p points to functions",
    ),
    (
        "dispatch",
        "struct s { int n; }; int top(s &x) { return x.n; }",
        "return x.n",
        "return typeid(x) == typeid(s)",
        "typeid",
    ),
    ("jumps", "int top(int n) { return n; }", "return n", "if (n < 0) { throw 1; } return n", "throw"),
    ("jumps", "int top(int n) { return n; }", "return n", "try { return n; } catch (...) { return 0; }", "try"),
    (
        "jumps",
        "int top(int n) { if (n < 0) { return 0; } return n; }",
        "return 0; } return",
        "goto end; } end: return",
        "goto",
    ),
    ("jumps", "int top(int n) { return n; }", "return n", 'asm(""); return n', "asm"),
    ("loops", _LOOP, "for (int i = 0; i < 8; i++) {", "int i = 0; while (i < 8) {", "2: .*while"),
    (
        "loops",
        "int top(int n) { for (int i = 0; i < 9; i++) { n++; } return n; }",
        "for (int i = 0; i < 9; i++) { n++; }",
        "do { n++; } while (n < 9);",
        "do",
    ),
    (
        "loops",
        "int top() { int x[3] = {1, 2, 3}; int n = 0; for (int i = 0; i < 3; i++) { n += x[i]; } return n; }",
        "for (int i = 0; i < 3; i++) { n += x[i]; }",
        "for (int v : x) { n += v; }",
        "range-for",
    ),
    ("loops", _LOOP, "i < 8", "i < n", "2: .*i is not compared with a constant"),
    ("loops", _LOOP.replace("i < 8", "i < 8 && n > 0"), "8 &&", "8 ||", "i is not compared with a constant"),
    ("loops", _LOOP, "i < 8", "n > 0 && i < 8", "i is not compared with a constant"),
    ("loops", _LOOP, "i < 8", "i != 8", "i is not compared with a constant"),
    ("loops", _LOOP, "int i = 0", "int i = n", "i does not start at a constant"),
    ("loops", _LOOP, "i++", "i--", "i does not step towards its bound"),
    ("loops", _LOOP, "i++", "i += n", "i does not step towards its bound"),
    ("loops", _LOOP, "i++", "", "i does not step towards its bound"),
    ("loops", _LOOP, "int i = 0; i < 8; i++", "int i = 7; i > 0; i++", "i does not step towards its bound"),
    ("loops", _LOOP, "x[i] += n", "x[i++] += n", "i is changed, or can be, in line 4"),
    ("loops", _LOOP, "x[i] += n", "int &j = i; x[j] += n", "i is changed, or can be, in line 4"),
    ("loops", _LOOP, "for (int i = 0; i", "int i; for (i = 0; i", "it declares no variable of its own"),
    (
        "loops",
        "template <int N> int f(int n) {\n    for (int i = N; i >= 0; i -= 2) {\n        n += i;\n"
        "        if (n > 9) {\n            break;\n        }\n    }\n    return n;\n}\n"
        "int top(int n) { return f<8>(n); }",
        "i >= 0",
        "i >= n",
        "2: .*i is not compared with a constant",
    ),
    (
        "constants",
        "int f(int n) { return n; }\nint top(int n) { static const int x[2] = {1, -(1 << 4)}; return x[f(n)]; }",
        "1 << 4",
        "f(4)",
        "2: .*x is not initialised by integer constant",
    ),
    (
        "constants",
        "constexpr int f(int n) { return n + 1; }\nstatic const int x[2] = {f(3), 4}; int top(int n) { return x[n]; }",
        "constexpr int f",
        "inline int f",
        "2: .*x is not initialised by integer constant",
    ),
    (
        "constants",
        "int top(int n) { static const int m = 4; return n + m; }",
        "m = 4",
        "m = n",
        "m is not initialised by integer constant",
    ),
    (
        "constants",
        "int top(int n) { static const short x[2] = {1, 2}; return x[n]; }",
        "short x",
        "ap_int<4> x",
        "x is not initialised by integer constant",
    ),
    ("state", "int top(int n) { int x = 0; x += n; return x; }", "int x", "static int x", "x is kept"),
    ("state", "static const int x = 3; int top() { return x; }", "const int", "int", "x is kept"),
    ("state", _KEPT, "kept_sum", "sum", "3: .*sum is kept"),
    (
        "state",
        "int top(int n) { static int kept_sum = 0; return kept_sum + n; }",
        "int top(int n) { static int kept_sum = 0;",
        "static int kept_sum = 0; int top(int n) {",
        "kept_sum is kept",
    ),
    (
        "state",
        "struct s { static const int x = 1; }; int top() { return s::x; }",
        "static const int x = 1; };",
        "static int x; }; int s::x = 1;",
        "x is kept",
    ),
    ("state", "static const int x = 3; int top() { return x > 0; }", "int x = 3", "int *x", "x is kept"),
    ("directives", _KEPT, "port=return", "port=returned", "2: .*undeclared identifier 'returned'"),
    ("directives", _KEPT, "RESET variable=kept_sum", "RESET", "4: .*no variable"),
    ("directives", _ARRAY, "PIPELINE II=1", "PIPLINE II=1", "7: .*PIPLINE is none of"),
    ("directives", _ARRAY, "II=1", "ii=1", "7: .*PIPELINE has no option ii"),
    ("directives", _ARRAY, "II=1", "II=1 fast", "7: .*PIPELINE has no flag fast"),
    ("directives", _ARRAY, "II=1", "II=0", "7: .*static_assert failed.*II=0"),
    ("directives", _ARRAY, "II=1", "II=x[0]", "7: .*not an integral constant"),
    ("directives", _ARRAY, "variable=acc", "variable=accu", "5: .*undeclared identifier 'accu'"),
    ("directives", _ARRAY, "variable=acc", "variable=i", "5: .*undeclared identifier 'i'"),
    ("directives", _ARRAY, "variable=acc", "variable=acc[0]", "5: .*'acc\\[0\\]' is no variable"),
    ("directives", _ARRAY, "variable=acc", "", "5: .*no variable"),
    (
        "directives",
        "static const int global[2] = {1};" + _ARRAY,
        "variable=acc",
        "variable=global",
        "5: .*global is not declared in fill",
    ),
    ("directives", _ARRAY.replace("acc[8];", "acc[8], n = 0;"), "variable=acc", "variable=n", "5: .*n is no array"),
    ("directives", _ARRAY, "CONFIG_T::banks", "CONFIG_T::bank", "5: .*no member named 'bank'"),
    ("directives", _ARRAY, "banks = 2", "banks = 0", "5: .*static_assert failed"),
    ("directives", _ARRAY, "cyclic factor=CONFIG_T::banks", "cyclic", "5: .*a factor belongs to"),
    ("directives", _ARRAY, "cyclic factor", "complete factor", "5: .*a factor belongs to"),
    ("directives", _ARRAY, "#pragma HLS INLINE", "#pragma once", "3: .*only HLS directives"),
    ("directives", _ARRAY, "#pragma HLS INLINE", '_Pragma("HLS INLINE")', "3: .*_Pragma is out of"),
    (
        "directives",
        _ARRAY,
        "        #pragma HLS PIPELINE II=1\n        acc[i] = x[i];",
        "        acc[i] = x[i];\n        #pragma HLS PIPELINE II=1",
        "8: .*not at the head of a loop",
    ),
    ("directives", _ARRAY, "#pragma HLS INLINE", "#pragma HLS UNROLL", "3: .*not at the head of a loop"),
    ("directives", _ARRAY, "PIPELINE II=1", "INLINE", "7: .*not in the outer block"),
    (
        "directives",
        _ARRAY,
        "acc[i] = x[i];",
        "for (int j = 0; j < 2; j++) {\n            #pragma HLS PIPELINE\n            acc[i] = x[j];\n        }",
        "9: .*inside another PIPELINE",
    ),
    (
        "directives",
        "#include <x.h>\nstatic const int n = 1;\nint top() { return n; }",
        "static",
        "#pragma HLS STREAM variable=n depth=1\nstatic",
        "2: .*undeclared identifier 'n'",
    ),
    (
        "directives",
        "static const int n = 1;\nint top() { return n; }",
        "int top",
        "#pragma HLS STREAM variable=n depth=1\nint top",
        "2: .*outside of a function",
    ),
    (
        "directives",
        "int top(int n) {\n    int x[2] = {n, n};\n    #pragma HLS BIND_STORAGE variable=x type=ram_2p impl=bram\n"
        "    return x[0];\n}",
        "ram_2p",
        "ram",
        "3: .*type is none of .*ram_2p",
    ),
    (
        "unlinted",
        "template <class T> T f(T n) { return n; }\nint top(int n) { return f(n); }",
        "return f(n)",
        "return n",
        "1: .*f is instantiated in no unit",
    ),
    (
        "unlinted",
        "template <class T> struct s { T f(T n) { return n; } };\nint top(int n) { s<int> x; return x.f(n); }",
        "x.f(n)",
        "n + int(sizeof(x))",
        "1: .*f is instantiated in no unit",
    ),
    ("compiles", "int top(int n) { return n; }", "return n", "return m", "undeclared identifier 'm'"),
]
