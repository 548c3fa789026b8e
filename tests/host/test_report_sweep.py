# SPDX-License-Identifier: Apache-2.0
"""What the report of a sweep says: front, points, failures."""

import re

from reported import by_key, sweep_file, texts

from hls4attn.host.report import (
    sweep,
)
from hls4attn.host.report.content import Picture, Table
from hls4attn.host.report.sweep import sweep_page


def test_a_sweep_has_front_points_and_failures(tmp_path):
    content = sweep_page(sweep_file(tmp_path / "s.sqlite"))
    sections = by_key(content)
    (points,) = [b for b in sections["points"].blocks if isinstance(b, Table)]
    assert len(points.rows) == 12 and points.tones.count("bad") == 1
    (front,) = [b for b in sections["front"].blocks if isinstance(b, Table)]
    assert len(front.rows) == points.tones.count("good") == sum(row[2] == "yes" for row in points.rows) > 1
    assert "2 points have not been run yet" in texts(sections["plan"])
    assert "do not fit their board" in texts(sections["front"])
    (log,) = sections["failures"].blocks
    assert "ToolError" in log.title and "no room" in log.text
    assert content.tiles[0].value == "12 of 14"


def test_points_of_a_picture_are_named_by_what_differs_on_the_front(tmp_path):
    sections = by_key(sweep_page(sweep_file(tmp_path / "s.sqlite")))
    (drawn,) = [b for b in sections["front"].blocks if isinstance(b, Picture)]
    named = re.findall(r">([^<>]*reuse factor[^<>]*)<", drawn.data.decode())
    (front,) = [b for b in sections["front"].blocks if isinstance(b, Table)]
    assert len(named) == len(front.rows) and all(re.search(r"reuse factor \d+$", name) for name in named)
    assert drawn.title.startswith("Accuracy (fraction) over interval cycles")
    (points,) = [b for b in sections["points"].blocks if isinstance(b, Table)]
    assert "Reuse factor fit:" in points.note and "Lanes" not in points.note and "Float" not in points.note


def test_a_sweep_without_results_says_so(tmp_path):
    from hls4attn.host.sweep.store import Store

    running = Store.open(tmp_path / "s.sqlite", {"points": 3, "objectives": ["dsp:min"]}, [])
    sections = by_key(sweep_page(tmp_path / "s.sqlite"))
    running.close()  # which would leave no file behind
    assert "No point has finished" in texts(sections["points"]) and "No chart" in texts(sections["front"])


def test_long_logs_are_cut_to_their_end():
    log = "".join(f"line {k}\n" for k in range(4000))
    shown = sweep._end(log)
    assert len(shown) < 4100 and shown.endswith("line 3999\n") and shown.splitlines()[1].startswith("line ")
    assert "characters before this are in the file" in shown.splitlines()[0]
    assert sweep._end("short") == "short" and sweep._end("") == "no output"
