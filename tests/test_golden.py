# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from hls4attn.host.operator_models import OPERATORS
from hls4attn.models.files import read_arrays
from tests.golden.make import FOLDER, vectors

CASES = [(name, k) for name, cases in OPERATORS.items() for k in range(len(cases))]


@pytest.mark.parametrize(("name", "number"), CASES)
def test_references_have_not_moved(name, number):
    golden = read_arrays(FOLDER / name / f"case{number}.npz")
    operands, got = vectors(OPERATORS[name][number].spec())
    for k, codes in enumerate(operands):
        assert np.array_equal(codes, golden[f"operand{k}"])
    assert np.count_nonzero(got != golden["expected"]) == 0


def test_no_stray_golden_files():
    assert {p.relative_to(FOLDER).as_posix() for p in FOLDER.rglob("*.npz")} == {f"{n}/case{k}.npz" for n, k in CASES}
