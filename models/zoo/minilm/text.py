# SPDX-License-Identifier: Apache-2.0
"""Sentences from any UTF-8 text: prose with wrapped lines, or a tokenised corpus with spaces around punctuation."""

from __future__ import annotations

import re
from pathlib import Path

from hls4attn.models.errors import InputError

#: Sentences of fewer or more words are left out: headings and list items; run-ons.
MIN_WORDS, MAX_WORDS = 5, 40
#: What a full stop ends without ending a sentence.
_ABBREVIATIONS = re.compile(
    r"mr|mrs|ms|dr|prof|st|rev|gen|col|lt|capt|sgt|sen|rep|gov|hon|jr|sr|vs|etc|vol|fig|pp|ed|cf|e\.g|i\.e|u\.s|u\.k"
    r"|a\.m|p\.m|jan|feb|mar|apr|jun|jul|aug|sep|sept|oct|nov|dec",
    re.IGNORECASE,
)
#: Corpora mark a word that they left out in this way; a sentence with a hole is not prose.
_HOLE = "<unk>"
#: Punctuation inside a word or number, as tokenised corpora write it: ``well @-@ known``, ``1 @,@ 000``.
_JOINED = re.compile(r" ?@([-.,])@ ?")
_PARAGRAPH = re.compile(r"\n\s*\n")
_END = re.compile(r"[.!?]+(?:\s?[\"'”’)\]])*\s+")
_LAST_WORD = re.compile(r"([\w.]+)\s?[.!?]+\W*$")
_WORD = re.compile(r"\w[\w'’.-]*")


def split_sentences(text: str) -> list[str]:
    """Sentences of 5 to 40 words, in order, each once.

    A sentence ends at a full stop, question or exclamation mark before a space and anything but a small letter,
    unless it follows an abbreviation or an initial.  Lines of a paragraph are joined.  What has no end mark (a
    heading, a table, a list) and what has a hole left by a corpus is dropped.

    Args:
        text: any text; blank lines separate paragraphs.
    """
    found: dict[str, None] = {}
    for paragraph in _PARAGRAPH.split(text.replace("\r\n", "\n")):
        flat = " ".join(_JOINED.sub(r"\1", paragraph).split())
        for sentence in _split(flat):
            if _HOLE not in sentence and MIN_WORDS <= len(_WORD.findall(sentence)) <= MAX_WORDS:
                found.setdefault(sentence)
    return list(found)


def _split(paragraph: str) -> list[str]:
    """Sentences of one paragraph; a rest without an end mark is dropped."""
    sentences, start = [], 0
    for end in _END.finditer(paragraph + " "):
        following = paragraph[end.end() :].lstrip("\"'“‘([")[:1]
        sentence = paragraph[start : end.end()].strip()
        if following.islower() or (following and _is_abbreviation(sentence)):
            continue
        if not (sentence.startswith("=") and sentence.endswith("=")):
            sentences.append(sentence)
        start = end.end()
    return sentences


def _is_abbreviation(sentence: str) -> bool:
    """Whether the full stop at the end belongs to the last word."""
    last = _LAST_WORD.search(sentence)
    if last is None or not sentence.rstrip("\"'”’)] ").endswith("."):
        return False
    word = last.group(1).rstrip(".")
    return bool(_ABBREVIATIONS.fullmatch(word)) or (len(word) == 1 and word.isupper() and word != "I")


def read_sentences(path: Path) -> list[str]:
    """Sentences of a file.

    Raises:
        InputError: if it is missing, not UTF-8, empty, or holds no sentence.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: byte {error.start} cannot be decoded") from error
    if not text.strip():
        raise InputError(f"{path} is empty; give a text with sentences of {MIN_WORDS} to {MAX_WORDS} words")
    sentences = split_sentences(text)
    if not sentences:
        raise InputError(f"{path} holds no sentence of {MIN_WORDS} to {MAX_WORDS} words that ends in . ! or ?")
    return sentences
