# SPDX-License-Identifier: Apache-2.0
"""Tables of the README and the pages are those of the committed records, these of the committed models."""

import hashlib
import json
from dataclasses import replace

import pytest

from hls4attn.host.bench import documents, record
from hls4attn.host.bench.documents import TABLES, renewed
from hls4attn.host.bench.documents import main as documents_main
from hls4attn.host.bench.hardware_readme import read_run, tables
from hls4attn.host.bench.record import SUBJECTS, estimated, measure, mismatches, read_record, verified
from hls4attn.host.bench.record import main as record_main
from hls4attn.models.errors import InputError, ModelFileError
from tests.documents import DOCUMENTS, ROOT

BY_NAME = {s.name: s for s in SUBJECTS}


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_tables_are_those_of_the_records(page):
    """Else: python -m hls4attn.host.bench.documents."""
    assert renewed(page.read_text()) == page.read_text()


def test_every_table_is_shown():
    shown = "".join(page.read_text() for page in DOCUMENTS)
    assert [name for name in TABLES if f"<!-- table: {name} -->" not in shown] == []


def test_tables_are_renewed(tmp_path, monkeypatch, capsys):
    consmax = next(u for u in read_run()["units"] if u["name"] == "consmax")
    run = {"units": [consmax, consmax | {"title": "a head", "fixed": True}]}
    monkeypatch.setattr(documents, "TABLES", {name: lambda n=name: tables(run)[n] for name in ("units", "heads")})
    page = tmp_path / "page.md"
    old = "before\n\n<!-- table: {} -->\n| old |\n<!-- end of table -->\n\nafter\n"
    page.write_text(old.format("units") + old.format("heads"))
    (tmp_path / "same.md").write_text("no table\n")
    documents_main([str(page), str(tmp_path / "same.md")])
    new = page.read_text()
    assert f"\n| a head | {consmax['size']['lut']} | 0 |" in new
    assert f"\n| ConSmax, direct table | {consmax['size']['lut']} | 0 |" in new
    assert "old" not in new
    assert new.count("before\n\n<!-- table: ") == new.count(" |\n\n<!-- end of table -->\n\nafter\n") == 2
    assert capsys.readouterr().out == f"renewed {page}\n"
    assert renewed(new) == new


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<!-- table: nothing -->\n<!-- end of table -->", "no table 'nothing'; known: results"),
        ("<!-- table: units -->\n", "lacks its"),
        ("<!-- end of table -->\n", "lacks its"),
    ],
)
def test_marks_that_are_wrong(text, words):
    with pytest.raises(InputError, match=words):
        renewed(text)


def test_the_record_is_of_the_committed_models():
    rows = read_record()
    assert [r["name"] for r in rows] == list(BY_NAME)
    for row in rows:
        subject = BY_NAME[row["name"]]
        assert row["sha256"] == hashlib.sha256(subject.path.read_bytes()).hexdigest()
        wrong, stages, samples = mismatches(row)
        assert (wrong, samples) == (0, subject.samples)
        assert stages >= (1 if subject.rtl else 6)


@pytest.mark.parametrize("name", list(BY_NAME))
def test_estimates_of_the_record(name):
    assert estimated(BY_NAME[name]) == next(r["estimate"] for r in read_record() if r["name"] == name)


@pytest.mark.slow
@pytest.mark.compile
@pytest.mark.parametrize("name", list(BY_NAME))
def test_stages_of_the_record(name):
    assert verified(BY_NAME[name]) == next(r["verified"] for r in read_record() if r["name"] == name)


@pytest.mark.compile
def test_a_record_is_measured(tmp_path, monkeypatch, capsys):
    subject = replace(BY_NAME["consmax"], samples=5)
    monkeypatch.setattr(record, "SUBJECTS", (subject,))
    record_main([str(tmp_path / "r.json")])
    found = read_record(tmp_path / "r.json")
    assert found == [measure(subject)]
    assert mismatches(found[0]) == (0, 6, 5)
    assert capsys.readouterr().out == f"{subject.title}\n"


@pytest.mark.parametrize("content", ["", "{}", '{"models": [{}]}', '{"models": [{"verified": [], "estimate": {}}]}'])
def test_a_record_that_is_none(tmp_path, content):
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(ModelFileError, match=r"r\.json is missing or not what"):
        read_record(tmp_path / "r.json")
    assert json.loads(record.COMMITTED.read_text())["seed"] == record.SEED
