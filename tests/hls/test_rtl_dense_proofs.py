# SPDX-License-Identifier: Apache-2.0
"""Two products in one multiplier block, proved for all weights and activations; products from look-up tables."""

from __future__ import annotations

import pytest
import z3
from rtl_formulas import At, going, integer
from rtl_kernel_claims import packed_products, packed_sums

from hls4attn.hls.rtl.net.tail import TAIL_FILES
from hls4attn.hls.rtl.proof import Module, counterexample
from hls4attn.hls.rtl.unit import Rom, RtlUnit

FILES = ("net/net_dense.sv", "net/net_chain.sv", "net/net_front.sv", "net/net_tree.sv", "net/net_back.sv", *TAIL_FILES)
BELOW = ("op_hold.sv", "op_delay.sv")
W, X, ACC = 4, 4, 10
#: One input and two outputs, whose weights are taken as any.
DENSE = RtlUnit(
    "net_dense",
    (*FILES, *BELOW),
    {"N_IN": 1, "N_OUT": 2, "IN_BLOCK": 1, "OUT_BLOCK": 2, "IN_W": X, "WEIGHT_W": W, "PACK": 2, "SPACE": W + X}
    | {"ACC_W": ACC, "SCALED_W": ACC, "SUM_W": ACC, "STEP_W": 1},
    {"WEIGHTS": Rom([0], 2 * W + 1), "STARTS": Rom([0], 1), "SCALES": Rom([0], 2), "OFFSETS": Rom([0], 2)},
)
CLAIMS = {
    "products": (packed_products(W, X, ACC), ("ACC_W'(high), ACC_W'(low)", "ACC_W'(high), ACC_W'(p)")),
    "sums": (packed_sums(ACC), ("high + $signed({{(ACC_W-1){1'b0}}, acc[ACC_W-1]})", "high")),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_two_products_in_a_block(name: str) -> None:
    claim, (right, wrong) = CLAIMS[name]
    text = DENSE.sources()["net_dense.sv"]
    assert text.count(right) == 1, right
    assert counterexample(Module.of(DENSE, free=("weights",)), claim) is None
    assert counterexample(Module.of(DENSE, {"net_dense.sv": text.replace(right, wrong)}, free=("weights",)), claim)


@pytest.mark.parametrize(("a", "b"), [(6, 4), (5, 5), (7, 3)])
def test_products_from_tables(a: int, b: int) -> None:
    unit = RtlUnit("net_product", ("net/net_product.sv",), {"A_W": a, "B_W": b, "DSP": 0})

    def claim(at: At) -> object:
        product = integer(at("a", 0), a + b) * integer(at("b", 0), a + b)
        return z3.Implies(going(at, ("en", 0)), at("p", 1) == product)

    assert counterexample(Module.of(unit), claim) is None  # type: ignore[arg-type]
    text = unit.sources()["net_product.sv"]
    assert text.count("two ? twice") == 1
    spoiled = {"net_product.sv": text.replace("two ? twice", "two ? once")}
    assert counterexample(Module.of(unit, spoiled), claim)  # type: ignore[arg-type]
