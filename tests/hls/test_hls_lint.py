# SPDX-License-Identifier: Apache-2.0
"""The lint finds nothing in what is shipped, and each of its rules refuses what it is for."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from hls_lint import RULES, Finding, lint
from hls_units import units
from lint_cases import CASES as KERNEL_CASES
from lint_stream_cases import STREAM_CASES

from hls4attn.hls import include_dir

CASES = [*KERNEL_CASES, *STREAM_CASES]


@pytest.fixture(scope="module")
def snippets() -> dict[str, list[Finding]]:
    """Findings in all cases, which are compiled together, by the file that they stand in."""
    texts = {}
    for k, (_, good, old, new, _) in enumerate(CASES):
        assert good.count(old) >= 1, f"case {k} changes nothing"
        texts |= {f"good{k}": good, f"bad{k}": good.replace(old, new)}
    found: dict[str, list[Finding]] = {}
    for finding in lint(texts, include_dir()):
        found.setdefault(finding.file, []).append(finding)
    return found


@pytest.mark.compile
@pytest.mark.parametrize("k", range(len(CASES)), ids=[f"{case[0]}_{k}" for k, case in enumerate(CASES)])
def test_rule_can_fail(snippets: dict[str, list[Finding]], k: int) -> None:
    name, *_, message = CASES[k]
    assert [str(f) for f in snippets.get(f"good{k}.cpp", ())] == []
    found = [str(f) for f in snippets.get(f"bad{k}.cpp", ()) if f.rule == name]
    assert any(re.search(f"^bad{k}.cpp:.*{message}", f) for f in found), snippets.get(f"bad{k}.cpp")


def test_every_rule_has_a_case_a_reason_and_a_line_in_the_table() -> None:
    import hls_lint

    listed = re.findall(r"^    (\w+)  +\S", hls_lint.__doc__ or "", re.MULTILINE)
    assert {*RULES, "compiles"} == {case[0] for case in CASES} == {*listed} - {"rule"}
    assert all(check.__doc__ for check in RULES.values())


@pytest.mark.compile
def test_kernels_and_generated_code_pass() -> None:
    assert [str(f) for f in lint(units(), include_dir())] == []


@pytest.mark.compile
def test_a_header_that_no_unit_uses_is_found(tmp_path: Path) -> None:
    headers = shutil.copytree(include_dir(), tmp_path / "nnet")
    (headers / "attn_new.h").write_text(
        "namespace hls4attn {\ntemplate <class T> T fresh(T x) {\n    return x;\n}\n}\n"
    )
    found = [str(f) for f in lint({}, headers) if f.file == "attn_new.h"]
    assert found == ["attn_new.h:2: unlinted: fresh is instantiated in no unit"]
