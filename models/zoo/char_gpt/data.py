# SPDX-License-Identifier: Apache-2.0
"""A text as character codes: from a file, from ``$HLS4ATTN_DATA``, or downloaded once and checked.

The default text is "tiny Shakespeare" (public domain, 1,115,394 characters), by its SHA-256.
"""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hls4attn.models.errors import InputError, ToolError
from hls4attn.models.files import atomic_write

FILE_NAME = "tinyshakespeare.txt"
ADDRESS = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
MAX_BYTES = 64 << 20
TIMEOUT_SECONDS = 30
VALIDATION_SHARE = 0.1
#: More different characters than this is no alphabet; the embedding table would outgrow the model.
MAX_VOCABULARY = 512
#: Windows that each part of a text must hold.
MIN_WINDOWS = 4

Codes32 = NDArray[np.int32]


class CharText(NamedTuple):
    """A text, its alphabet, and its two parts in order: the end validates.

    Attributes:
        name: of the file.
        sha256: of its bytes.
        vocabulary: its characters, sorted; a code is a position in it.
        train: codes of the first nine tenths.
        validation: codes of the rest.
    """

    name: str
    sha256: str
    vocabulary: str
    train: Codes32
    validation: Codes32


def load_text(path: Path | None = None) -> CharText:
    """The text of a file, or tiny Shakespeare.

    Without a path it is ``$HLS4ATTN_DATA/tinyshakespeare.txt``, else a copy in the cache folder, which is downloaded
    if it is not there.  Only tiny Shakespeare's exact bytes are accepted from these two.

    Raises:
        InputError: if the file is missing, not UTF-8, too short, or has another checksum than the one expected.
        ToolError: if the download fails; the message says what to do instead.
    """
    if path is not None:
        return text_of(_read(path), path.name)
    folder = os.environ.get("HLS4ATTN_DATA")
    source = Path(folder) / FILE_NAME if folder else cached_text()
    content = _read(source)
    _check(content, str(source))
    return text_of(content, FILE_NAME)


def text_of(content: bytes, name: str) -> CharText:
    """Codes of a UTF-8 text.

    Raises:
        InputError: if it is not UTF-8, too short or has too many different characters.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not UTF-8 text: byte {error.start} cannot be decoded") from error
    vocabulary = "".join(sorted(set(text)))
    if len(vocabulary) > MAX_VOCABULARY:
        raise InputError(f"{name} has {len(vocabulary)} different characters, at most {MAX_VOCABULARY} are supported")
    codes = encode(text, vocabulary)
    cut = len(codes) - int(len(codes) * VALIDATION_SHARE)
    return CharText(name, hashlib.sha256(content).hexdigest(), vocabulary, codes[:cut], codes[cut:])


def check_length(text: CharText, window: int) -> None:
    """Refuse a text of which a part is shorter than a few windows.

    Raises:
        InputError: saying how long it must be.
    """
    needed = MIN_WINDOWS * window + 1
    if min(len(text.train), len(text.validation)) < needed:
        total = len(text.train) + len(text.validation)
        raise InputError(
            f"{text.name} has {total} characters; its last tenth, which validates, must have {needed}: give at least "
            f"{int(np.ceil(needed / VALIDATION_SHARE))} characters"
        )


def encode(text: str, vocabulary: str) -> Codes32:
    """Codes of a text.

    Raises:
        InputError: naming characters that are not in the vocabulary.
    """
    unknown = sorted(set(text) - set(vocabulary))
    if unknown:
        raise InputError(f"Characters {unknown[:5]} are not in the model's alphabet: {vocabulary!r}")
    code_of = {character: code for code, character in enumerate(vocabulary)}
    return np.fromiter((code_of[c] for c in text), dtype=np.int32, count=len(text))


def decode(codes: NDArray[np.integer], vocabulary: str) -> str:
    """The text of codes."""
    return "".join(vocabulary[int(c)] for c in codes)


def one_hot(codes: NDArray[np.integer], vocabulary: int) -> NDArray[np.float32]:
    """Codes ``(..., window)`` as rows ``(..., window, vocabulary)``, which an exported file takes."""
    return np.equal(codes[..., None], np.arange(vocabulary)).astype(np.float32)


def batches(codes: Codes32, window: int, batch: int, steps: int, seed: tuple[int, ...]) -> Iterator[Codes32]:
    """Random pieces of ``window + 1`` characters, ``(batch, window + 1)`` a step; the same ones for a seed."""
    rng = np.random.default_rng(seed)
    offsets = np.arange(window + 1)
    for _ in range(steps):
        starts = rng.integers(0, len(codes) - window, size=(batch, 1))
        yield codes[starts + offsets]


def windows(codes: Codes32, window: int) -> Codes32:
    """All pieces of ``window + 1`` characters whose predictions do not overlap; a rest is left out."""
    count = (len(codes) - 1) // window
    return codes[np.arange(count)[:, None] * window + np.arange(window + 1)]


def cached_text(address: str = ADDRESS) -> Path:
    """Tiny Shakespeare in the cache folder (``$HLS4ATTN_CACHE``, else ``~/.cache/hls4attn``), downloaded if need be.

    Raises:
        ToolError: if it cannot be downloaded.
        InputError: if what was downloaded is something else; nothing is kept then.
    """
    folder = Path(os.environ.get("HLS4ATTN_CACHE") or Path.home() / ".cache" / "hls4attn")
    path = folder / FILE_NAME
    if path.is_file():
        return path
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_SECONDS) as answer:
            content: bytes = answer.read(MAX_BYTES + 1)
    except (urllib.error.URLError, OSError) as error:
        raise ToolError(
            f"Cannot download {address}: {getattr(error, 'reason', error)}; give a file with --text, or set "
            f"HLS4ATTN_DATA to a folder that holds {FILE_NAME}"
        ) from error
    _check(content, address)
    atomic_write(path, content)
    return path


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path} is larger than {MAX_BYTES >> 20} MiB")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}") from error


def _check(content: bytes, where: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise InputError(f"{where} is not tiny Shakespeare: its SHA-256 is {found}, expected {SHA256}")
