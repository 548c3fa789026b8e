# SPDX-License-Identifier: Apache-2.0
"""The notebooks run from top to bottom; their own asserts compare the stages."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"


@pytest.mark.compile
@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda p: p.stem)
def test_notebook(path):
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}})
    client.execute()
    text = "".join(
        output.get("text", "")
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if cell.cell_type == "code"
    )
    counts = re.findall(r"(\d+)/(\d+) mismatches", text)
    assert {wrong for wrong, _ in counts} == {"0"}
    assert max(int(compared) for _, compared in counts) >= 360
    assert "emulated:pynq-z2" in text
