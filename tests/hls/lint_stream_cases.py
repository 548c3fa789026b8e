# SPDX-License-Identifier: Apache-2.0
"""For every rule of the lint about streams, processes and regions: a snippet that breaks it, and its twin."""

from __future__ import annotations

_ROW = "typedef hls4attn::row<ap_int<8>, 2> row;\n"
#: A streaming process; the cases change one line of it.
_PROCESS = (
    _ROW
    + """void top(hls::stream<row> &data, hls::stream<row> &res, const int length) {
    HLS4ATTN_LATENCY(3)
    for (int r = 0; r < 8 && r != length; r++) {
        #pragma HLS PIPELINE II=2
        const row word = data.read();
        HLS4ATTN_PACK(word)
        res.write(word);
        HLS4ATTN_CYCLES(2)
    }
}"""
)
#: A process at a port.
_PORT = """typedef hls4attn::axis<0>::word port;
void top(hls::stream<port> &data, hls::stream<port> &res) {
    HLS4ATTN_LATENCY(1)
    const port word = data.read();
    res.write(word);
}"""
#: A region.
_REGION = (
    _ROW
    + """inline void leaf(hls::stream<row> &data, hls::stream<row> &res) {
    HLS4ATTN_LATENCY(1)
    const row word = data.read();
    HLS4ATTN_PACK(word)
    res.write(word);
}
void top(hls::stream<row> &data, hls::stream<row> &res) {
    #pragma HLS DATAFLOW
    static const int words = 2;
    hls::stream<row> rows("rows");
    #pragma HLS STREAM variable=rows depth=words
    HLS4ATTN_DEPTH(rows, words)
    HLS4ATTN_PROCESS(leaf(data, rows))
    HLS4ATTN_PROCESS(leaf(rows, res))
    HLS4ATTN_JOIN
}"""
)

#: As `lint_cases.CASES`.
STREAM_CASES: list[tuple[str, str, str, str, str]] = [
    ("directives", _REGION, "STREAM variable=rows", "STREAM variable=words", "12: .*words is no stream"),
    ("timing", _PROCESS, "CYCLES(2)", "CYCLES(1)", "4: .*a loop of II=2 ends in HLS4ATTN_CYCLES\\(2\\)"),
    ("timing", _PROCESS, "        HLS4ATTN_CYCLES(2)\n", "", "4: .*a loop of II=2 ends in"),
    ("timing", _PROCESS, "PIPELINE II=2", "PIPELINE", "4: .*states its II"),
    ("timing", _PROCESS, "        #pragma HLS PIPELINE II=2\n", "", "8: .*HLS4ATTN_CYCLES 2 is not at the end"),
    ("timing", _PROCESS, "res.write(word)", "if (r > 5) { continue; } res.write(word)", "8: .*continue passes"),
    ("exits", _PROCESS, "res.write(word)", "if (r > 5) { break; } res.write(word)", "8: .*BreakStmt leaves"),
    ("exits", _PROCESS, "res.write(word)", "if (r > 5) { return; } res.write(word)", "8: .*ReturnStmt leaves"),
    (
        "words",
        _PROCESS,
        "        HLS4ATTN_PACK(word)\n",
        "",
        "7: .*word is written to a stream and has no HLS4ATTN_PACK",
    ),
    ("words", _PROCESS, "HLS4ATTN_PACK(word)", "row other = word; HLS4ATTN_PACK(other)", "7: .*word is written to"),
    ("words", _PROCESS, "res.write(word)", "res.write(data.read())", "8: .*takes a variable of this function"),
    ("words", _PROCESS, "res.write(word);", "", "7: .*PACK word: no such word"),
    ("words", _PORT, "    res.write", "    HLS4ATTN_PACK(word)\n    res.write", "6: .*word is a word of a port"),
    ("timing", _PROCESS, "    HLS4ATTN_LATENCY(3)\n", "", "2: .*starts with one HLS4ATTN_LATENCY"),
    (
        "timing",
        _PROCESS,
        "    HLS4ATTN_LATENCY(3)\n    for",
        "    data.read();\n    HLS4ATTN_LATENCY(3)\n    for",
        "2: .*starts with one HLS4ATTN_LATENCY",
    ),
    ("timing", _REGION, "DEPTH(rows, words)", "DEPTH(rows, words + 1)", "rows: STREAM depth=words.*go together"),
    ("timing", _REGION, "    HLS4ATTN_DEPTH(rows, words)\n", "", "12: .*rows: STREAM depth=words.*go together"),
    ("timing", _REGION, "    #pragma HLS STREAM variable=rows depth=words\n", "", "12: .*rows: STREAM depth=words"),
    ("region", _REGION, "HLS4ATTN_PROCESS(leaf(data, rows))", "leaf(data, rows);", "CallExpr outside of"),
    (
        "region",
        _REGION,
        "HLS4ATTN_PROCESS(leaf(data, rows))",
        "if (words > 1) { leaf(data, rows); }",
        "14: .*IfStmt outside",
    ),
    ("region", _REGION, "    HLS4ATTN_JOIN\n", "", "top does not end in HLS4ATTN_JOIN"),
    ("region", _REGION, "    #pragma HLS DATAFLOW\n", "", "top has processes and no DATAFLOW"),
    (
        "region",
        _REGION,
        "    HLS4ATTN_PROCESS(leaf(data, rows))\n    HLS4ATTN_PROCESS(leaf(rows, res))\n    HLS4ATTN_JOIN\n",
        "    HLS4ATTN_PROCESS(leaf(data, rows))\n    HLS4ATTN_JOIN\n    HLS4ATTN_PROCESS(leaf(rows, res))\n",
        "HLS4ATTN_JOIN is not the last",
    ),
]
