# SPDX-License-Identifier: Apache-2.0
"""The text of the character GPT: codes, batches, downloads and what is refused."""

import numpy as np
import pytest

from hls4attn.models.errors import InputError, ToolError
from hls4attn.models.zoo.char_gpt import data as data_module
from hls4attn.models.zoo.char_gpt.data import (
    batches,
    cached_text,
    check_length,
    decode,
    load_text,
    text_of,
    windows,
)
from tests.models.gpt_text import TEXT, synthetic


def test_a_text_and_its_codes():
    assert len(TEXT.train) + len(TEXT.validation) == len(synthetic())
    assert decode(np.concatenate([TEXT.train, TEXT.validation]), TEXT.vocabulary).encode() == synthetic()
    assert len(TEXT.validation) == len(synthetic()) // 10
    assert list(TEXT.vocabulary) == sorted(set(TEXT.vocabulary))


def test_batches_are_pieces_of_the_text_and_the_same_for_a_seed():
    first, again = (list(batches(TEXT.train, 64, 5, 3, (1, 2))) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, list(batches(TEXT.train, 64, 5, 3, (1, 3))))
    text = decode(TEXT.train, TEXT.vocabulary)
    assert all(decode(piece, TEXT.vocabulary) in text for piece in np.reshape(first, (-1, 65)))
    shortest = TEXT.train[:65]  # a single piece fits
    np.testing.assert_array_equal(next(iter(batches(shortest, 64, 2, 1, (0,)))), [shortest, shortest])


def test_validation_windows_predict_every_character_once():
    pieces = windows(np.arange(64 * 3 + 1, dtype=np.int32), 64)
    np.testing.assert_array_equal(pieces[:, 1:].ravel(), np.arange(1, 64 * 3 + 1))
    assert len(windows(np.arange(64 * 3, dtype=np.int32), 64)) == 2


def test_the_wrong_text_is_refused_and_not_kept(tmp_path, monkeypatch):
    path = tmp_path / data_module.FILE_NAME
    path.write_bytes(synthetic())
    monkeypatch.setenv("HLS4ATTN_DATA", str(tmp_path))
    with pytest.raises(InputError, match="is not tiny Shakespeare: its SHA-256 is"):
        load_text()
    assert load_text(path).sha256 == TEXT.sha256  # named by the user, any text will do
    monkeypatch.setenv("HLS4ATTN_CACHE", str(tmp_path / "cache"))
    with pytest.raises(InputError, match="is not tiny Shakespeare"):
        cached_text(path.as_uri())
    assert not (tmp_path / "cache").exists()
    with pytest.raises(ToolError, match="give a file with --text, or set HLS4ATTN_DATA"):
        cached_text((tmp_path / "absent").as_uri())


def test_a_download_is_kept(tmp_path, monkeypatch):
    source = tmp_path / "source.txt"
    source.write_bytes(synthetic())
    monkeypatch.setattr(data_module, "SHA256", TEXT.sha256)
    monkeypatch.setenv("HLS4ATTN_CACHE", str(tmp_path / "cache"))
    assert cached_text(source.as_uri()).read_bytes() == synthetic()
    source.unlink()
    assert cached_text(source.as_uri()).read_bytes() == synthetic()
    monkeypatch.delenv("HLS4ATTN_DATA", raising=False)
    assert load_text().sha256 == TEXT.sha256


def test_unusable_texts_are_refused(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        load_text(tmp_path / "absent.txt")
    with pytest.raises(InputError, match="not UTF-8 text: byte 3"):
        text_of(b"abc\xff", "bytes")
    with pytest.raises(InputError, match="600 different characters, at most 512"):
        text_of("".join(chr(0x4E00 + n) for n in range(600)).encode(), "book")
    for content in (b"", b"a", b"ab" * 1284):
        with pytest.raises(InputError, match="give at least 2570 characters"):
            check_length(text_of(content, "short"), 64)
    check_length(text_of(b"ab" * 1285, "just enough"), 64)
