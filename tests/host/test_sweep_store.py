# SPDX-License-Identifier: Apache-2.0
"""Files of results: what is in them outlives a kill, and nobody else's file is touched."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from sweep_results import result

from hls4attn.host.sweep import store as module
from hls4attn.host.sweep.store import Store, journal_path, read_results
from hls4attn.models.errors import InputError

META = {"plan": "[sweep]", "points": 3, "objectives": ["dsp:min"], "only_fitting": True, "versions": {"evaluator": "1"}}
KINDS = ["sweep.sqlite", "sweep.db", "sweep.parquet"]
ODD = result(
    2,
    "failed",
    {"reuse_factor": "fit", "lanes": 2, "stages": ["csim"]},
)


def filled(path, results, finished=False, keys=None):
    store = Store.open(path, META, [r.key for r in results] if keys is None else keys)
    for r in results:
        store.add(r)
    store.close(finished)


@pytest.fixture
def three():
    return [
        result(0, settings={"reuse_factor": 4, "lanes": 1}, accuracy=0.75, model_id="ab", stages=["csim"], odd=1 << 70),
        result(1, settings={"reuse_factor": 2, "lanes": None}, accuracy=1, dsp=None, why={"dsp": "not known"}),
        ODD,
    ]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("finished", [False, True])
def test_what_goes_in_comes_out(tmp_path, name, finished, three):
    path = tmp_path / name
    filled(path, three, finished)
    held = read_results(path)
    assert held.results == three
    assert {key: held.meta[key] for key in META} == META
    files = {path.name} | ({f"{name}.journal"} if name.endswith("parquet") and not finished else set())
    assert {p.name for p in tmp_path.iterdir()} == files  # no lock, no WAL


@pytest.mark.parametrize("name", KINDS)
def test_a_file_without_results_is_not_left_behind_but_an_old_one_is(tmp_path, name, three):
    path = tmp_path / name
    filled(path, [])
    assert list(tmp_path.iterdir()) == []
    filled(path, three)
    before = {p.name for p in tmp_path.iterdir()}
    filled(path, [])
    assert {p.name for p in tmp_path.iterdir()} == before and len(read_results(path).others) == len(three)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("finished", [False, True])
def test_going_on_with_more_points(tmp_path, name, finished, three):
    path = tmp_path / name
    filled(path, three, finished)
    more = result(3)
    store = Store.open(path, META, [r.key for r in [*three, more]])
    assert store.ended() == {r.key: r.status for r in three}
    store.add(more)
    again = result(2)  # the failed one, well now
    store.add(again)
    assert sorted(r.key for r in store.results()) == sorted(r.key for r in [*three, more])
    store.close(True)
    assert read_results(path).results == [*three[:2], more, again]


@pytest.mark.parametrize("name", KINDS)
def test_points_that_are_no_longer_planned_stay_in_the_file(tmp_path, name, three):
    path = tmp_path / name
    filled(path, three, True)
    filled(path, [], True, keys=[three[1].key])
    held = read_results(path)
    assert held.results == [three[1]]
    assert held.others == [three[0], three[2]]
    filled(path, [], True, keys=[three[2].key, three[1].key])
    assert read_results(path).results == three[1:]


def test_parquet_has_typed_columns(tmp_path, three):
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "sweep.parquet"
    filled(path, three)
    table = pyarrow.parquet.read_table(path)
    kinds = {field.name: field.type for field in table.schema}
    assert kinds["metric.accuracy"] == pyarrow.float64()
    assert kinds["metric.dsp"] == pyarrow.int64()
    assert kinds["metric.fits"] == kinds["in_plan"] == pyarrow.bool_()
    assert kinds["setting.lanes"] == pyarrow.int64()
    assert kinds["setting.reuse_factor"] == pyarrow.string()  # a number or "fit"
    assert not {"metric.stages", "metric.why", "metric.odd"} & set(kinds)  # JSON only
    assert json.loads(table["metrics"][0].as_py())["odd"] == 1 << 70
    assert table["setting.reuse_factor"].to_pylist() == ["4", "2", "fit"]
    assert table["metric.accuracy"].to_pylist() == [0.75, 1.0, None]
    assert json.loads(table.schema.metadata[b"hls4attn.sweep"])["plan"] == "[sweep]"


def test_what_no_number_and_no_text_can_hold(tmp_path):
    for name in KINDS:
        odd = result(0, "failed", {"x": float("nan")})
        odd = type(odd)(odd.key, odd.settings, "failed", {"a": [float("inf")]}, 1.0, "w", "bad \udcff", "zero \0 byte")
        filled(tmp_path / name, [odd])
        (held,) = read_results(tmp_path / name).results
        assert (held.settings["x"], held.metrics["a"]) == (None, [None])
        assert (held.error, held.log) == ("bad ?", "zero \ufffd byte")


def test_parquet_is_written_now_and_then_and_read_from_the_journal_meanwhile(tmp_path, monkeypatch, three):
    path = tmp_path / "sweep.parquet"
    store = Store.open(path, META, [r.key for r in three])
    store.add(three[0])
    assert not path.exists()
    assert read_results(path).results == three[:1]
    monkeypatch.setattr(module, "PARQUET_S", 0.0)
    monkeypatch.setattr(module, "SHARE", 0)
    store.add(three[1])
    assert path.exists()
    store.close()
    assert read_results(path).results == three[:2]


@pytest.mark.parametrize("name", KINDS)
def test_foreign_files_are_refused_and_left_alone(tmp_path, name):
    path = tmp_path / name
    for content in (b"", b"something else", b"PAR1", b"SQLite format 3\0"):
        path.write_bytes(content)
        for what in (lambda: Store.open(path, META, []), lambda: read_results(path)):
            with pytest.raises(InputError, match=str(path)):
                what()
        assert path.read_bytes() == content
        assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", KINDS)
def test_truncated_files_are_refused(tmp_path, name, three):
    path = tmp_path / name
    filled(path, three * 40, True)
    whole = path.read_bytes()
    for share in (0.1, 0.5, 0.99):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(InputError, match=r"truncated|damaged|no Parquet"):
            Store.open(path, META, [])
        assert path.stat().st_size == int(share * len(whole))


def test_databases_of_others_and_of_newer_versions(tmp_path, three):
    path = tmp_path / "sweep.sqlite"
    base = sqlite3.connect(path)
    base.execute("CREATE TABLE results (key)")
    base.commit()
    with pytest.raises(InputError, match="is an SQLite file, but holds no sweep"):
        Store.open(path, META, [])
    base.close()
    path.unlink()
    filled(path, three)
    with sqlite3.connect(path) as base:
        base.execute("PRAGMA user_version = 7")
    with pytest.raises(InputError, match=r"written by a newer hls4attn \(its format is 7, known is 1\)"):
        Store.open(path, META, [])


def test_parquet_of_others_and_of_newer_versions(tmp_path, monkeypatch):
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "sweep.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"key": ["a"]}), path)
    with pytest.raises(InputError, match="is a Parquet file, but holds no sweep"):
        Store.open(path, META, [])
    with pytest.raises(InputError, match="but holds no sweep"):
        read_results(path)
    table = pyarrow.table({"key": ["a"]})
    for meta, words in (({"format": 7}, "written by a newer"), ({"format": 1}, "lacks the columns error, in_plan")):
        pyarrow.parquet.write_table(table.replace_schema_metadata({"hls4attn.sweep": json.dumps(meta)}), path)
        with pytest.raises(InputError, match=words):
            Store.open(path, META, [])
    assert [p.name for p in tmp_path.iterdir()] == ["sweep.parquet"]


def test_a_changed_row_is_refused(tmp_path, three):
    path = tmp_path / "sweep.sqlite"
    filled(path, three)
    for change in ("status = 'fine'", "metrics = '{'", "settings = '[]'"):
        with sqlite3.connect(path) as base:
            before = base.execute("SELECT status, metrics, settings FROM results WHERE rowid = 1").fetchone()
            base.execute(f"UPDATE results SET {change} WHERE rowid = 1")
        with pytest.raises(InputError, match=r"holds a result that"):
            read_results(path)
        with sqlite3.connect(path) as base:
            base.execute("UPDATE results SET status = ?, metrics = ?, settings = ? WHERE rowid = 1", before)
    assert read_results(path).results == three


@pytest.mark.parametrize("name", KINDS)
def test_one_sweep_a_file(tmp_path, name, three):
    path = tmp_path / name
    store = Store.open(path, META, [])
    with pytest.raises(InputError, match=rf"Another sweep writes {path} \(process {os.getpid()}\)"):
        Store.open(path, META, [])
    store.close()
    filled(path, three)


def test_one_sweep_a_file_whatever_it_is_called(tmp_path, three):
    path, link = tmp_path / "sweep.sqlite", tmp_path / "other.sqlite"
    filled(path, three)
    link.symlink_to(path)
    store = Store.open(path, META, [])
    with pytest.raises(InputError, match=rf"Another sweep writes {link}"):
        Store.open(link, META, [])
    store.close()


@pytest.mark.parametrize("name", ["sweep.sqlite", "sweep.parquet"])
def test_a_full_disk_takes_nothing_away(tmp_path, name, three):
    path = tmp_path / name
    store = Store.open(path, META, [result(n).key for n in range(9)])
    store.add(three[0])
    store._base._rows("PRAGMA max_page_count = 1")  # to SQLite that is a disk that has no more
    with pytest.raises(InputError, match=r"Cannot write .*disk is full.*make room there.*the same command goes on"):
        for n in range(1, 9):
            store.add(replace(result(n), log="x" * 10_000))
    kept = read_results(path).results
    store.close()
    filled(path, [three[1]], keys=[r.key for r in [*kept, three[1]]])
    assert kept[0] == three[0] and read_results(path).results == [*kept, three[1]]


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from sweep_results import result
from hls4attn.host.sweep.store import Store
store = Store.open(Path(sys.argv[1]), {"points": 9}, [result(n).key for n in range(9)])
for n in range(9):
    store.add(result(n))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("name", ["sweep.sqlite", "sweep.parquet"])
def test_a_file_that_was_removed_after_a_kill_does_not_come_back(tmp_path, name):
    """SQLite's own log is left beside it, and would be replayed into a new file of the same name."""
    path = tmp_path / name
    subprocess.run([sys.executable, "-c", KILLED, str(path), str(Path(__file__).parent)], check=False)
    database = path if path.suffix == ".sqlite" else journal_path(path)
    assert len(read_results(path).results) == 9 and Path(f"{database}-wal").exists()
    database.unlink()
    filled(path, [result(100)])
    held = read_results(path)
    assert (held.results, held.others) == ([result(100)], [])


def test_a_reader_at_the_end_of_a_sweep_leaves_nothing_behind(tmp_path, three):
    path = tmp_path / "sweep.parquet"
    store = Store.open(path, META, [r.key for r in three])
    for r in three:
        store.add(r)
    reader = sqlite3.connect(f"{journal_path(path).as_uri()}?mode=ro", uri=True)
    assert reader.execute("SELECT count(*) FROM results").fetchone() == (3,)
    store.close(True)
    reader.close()
    assert [p.name for p in tmp_path.iterdir()] == ["sweep.parquet"]


def test_a_run_that_is_just_beginning_hides_nothing(tmp_path, monkeypatch, three):
    """Killed before its journal has what the Parquet file has: that file is what is read."""
    path = tmp_path / "sweep.parquet"
    filled(path, three, True)

    def killed(*_):
        assert read_results(path).results == three
        raise KeyboardInterrupt

    monkeypatch.setattr(module.Database, "begin", killed)
    with pytest.raises(KeyboardInterrupt):
        Store.open(path, META, [])
    assert read_results(path).results == three
    with pytest.raises(KeyboardInterrupt):
        Store.open(tmp_path / "new.sqlite", META, [])
    with pytest.raises(InputError, match=r"No run of a sweep has begun in .*new.sqlite"):
        read_results(tmp_path / "new.sqlite")


def test_a_journal_that_goes_away_while_it_is_opened(tmp_path, monkeypatch, three):
    """The sweep ends just then; the Parquet file has all."""
    path = tmp_path / "sweep.parquet"
    filled(path, three, True)
    filled(path, [], False, keys=[r.key for r in three])
    check = module.Database.__init__

    def gone(self, database, writable=True):
        database.unlink()
        check(self, database, writable)

    monkeypatch.setattr(module.Database, "__init__", gone)
    assert read_results(path).results == three


def test_names_and_places(tmp_path):
    with pytest.raises(InputError, match=r"must end in .sqlite, .db or .parquet"):
        Store.open(tmp_path / "sweep.csv", META, [])
    with pytest.raises(InputError, match="No such file"):
        read_results(tmp_path / "sweep.sqlite")
    (tmp_path / "sweep.db").mkdir()
    with pytest.raises(InputError, match="it is a folder"):
        Store.open(tmp_path / "sweep.db", META, [])


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from sweep_results import result
from hls4attn.host.sweep import store as module
module.PARQUET_S, module.SHARE = 0.0, 0
store = module.Store.open(Path(sys.argv[1]), {"points": 9}, [result(n).key for n in range(5000)])
number = len(store.ended())
while True:
    store.add(result(number))
    number += 1
    print(number, flush=True)
"""


@pytest.mark.parametrize("name", ["sweep.sqlite", "sweep.parquet"])
def test_a_kill_loses_nothing_that_was_added(tmp_path, name):
    """Killed over and over amid writing: all that was said to be kept is there, and the next one goes on."""
    path = tmp_path / name
    kept = 0
    for further in (1, 7, 40):
        arguments = [sys.executable, "-c", WRITER, str(path), str(Path(__file__).parent)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(further):
                said = writer.stdout.readline()
            writer.send_signal(signal.SIGKILL)
            said = ([said, *writer.stdout.read().split("\n")[:-1]])[-1]
        assert int(said) >= kept + further
        held = read_results(path).results
        assert int(said) <= len(held) <= int(said) + 1
        assert held == [result(n) for n in range(len(held))]
        kept = len(held)
    store = Store.open(path, META, [result(n).key for n in range(kept)])
    assert len(store.ended()) == kept
    store.close(True)
    assert len(read_results(path).results) == kept
    assert journal_path(path).exists() is False
