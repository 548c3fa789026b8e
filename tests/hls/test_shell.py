# SPDX-License-Identifier: Apache-2.0
"""The shell between the DMA and the kernels, simulated."""

from pathlib import Path

import pytest
from shell_runs import simulate


@pytest.mark.parametrize("design", ["plain", "bank"])
def test_the_shell_does_what_the_emulated_ip_does(tmp_path: Path, design: str) -> None:
    assert simulate(tmp_path, design, seeds="1 2 3") == {}
