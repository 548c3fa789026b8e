# SPDX-License-Identifier: Apache-2.0
"""What a report says, as plain values: both twins, HTML and Markdown, are written from it and so cannot differ.

A page has sections, a section has blocks.  Every text in here is text: nothing is markup, and the pages escape it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any, ClassVar

#: Pixels across and down that a page has for a picture, and up to which width two stand side by side.
PAGE, HALF = (950.0, 760.0), 450.0


@dataclass(frozen=True)
class Note:
    """A paragraph.

    Attributes:
        text: what it says.
        tone: "" for plain text, "aside" for small print, "why" for what has no answer, "good" or "bad" for a result.
    """

    kind: ClassVar[str] = "note"
    text: str
    tone: str = ""


@dataclass(frozen=True)
class Facts:
    """Pairs of a label and a value.

    Attributes:
        rows: the pairs.
        code: whether values are hashes, files or versions.
    """

    kind: ClassVar[str] = "facts"
    rows: tuple[tuple[str, str], ...]
    code: bool = False


@dataclass(frozen=True)
class Column:
    """A column's title, and whether it holds numbers."""

    title: str
    number: bool = False


def columns_of(texts: Sequence[str], numbers: Sequence[str] = ()) -> tuple[Column, ...]:
    """Columns of text, and after them columns of numbers."""
    return (*(Column(t) for t in texts), *(Column(n, True) for n in numbers))


@dataclass(frozen=True)
class Table:
    """Rows of text.

    Attributes:
        title: of the table.
        columns: as many as cells in each row.
        rows: the cells.
        tones: "good", "bad" or "" for each row; none if no row has one.
        total: whether the last row is the sum of the others; it stays last.
        sortable: whether readers may sort and filter it.
        folded: whether it is closed at first.
        note: small print below it.
    """

    kind: ClassVar[str] = "table"
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    tones: tuple[str, ...] = ()
    total: bool = False
    sortable: bool = False
    folded: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        widths = {len(row) for row in self.rows} - {len(self.columns)}
        if widths or len(self.tones) not in (0, len(self.rows)):
            raise ValueError(
                f"{self.title}: {len(self.columns)} columns and {len(self.rows)} rows. "
                f"Received: rows of {sorted(widths)} cells, {len(self.tones)} tones"
            )


@dataclass(frozen=True)
class Picture:
    """A drawing.

    Attributes:
        name: of its file beside the Markdown twin, without a suffix.
        title: what it shows, in a line.
        form: "svg" or "png".
        data: the file.
        text: what somebody who cannot see it should know.
        own_colours: whether it follows light and dark itself; else it stands on white.
        scrolls: whether it scrolls in a box of the window's size, and can be fitted to the page.
        half: whether two of its kind fit beside each other.
    """

    kind: ClassVar[str] = "picture"
    name: str
    title: str
    form: str
    data: bytes = field(repr=False)
    text: str = ""
    own_colours: bool = False
    scrolls: bool = False
    half: bool = False

    @classmethod
    def of_svg(cls, name: str, title: str, drawn: str, text: str, boxed: bool = False) -> Picture:
        """An `<svg>` of this package, which follows the page's colours.

        Args:
            name: of its file.
            title: what it shows.
            drawn: the element; its width in pixels and its viewBox say how large it is.
            text: for the caption.
            boxed: whether it gets a box to scroll in if it is larger than a page.

        Raises:
            ValueError: if it does not say its size.
        """
        size = re.match(r'<svg[^>]* viewBox="0 0 ([\d.]+) ([\d.]+)" width="([\d.]+)"', drawn)
        if size is None:
            raise ValueError(f"{name}: the picture does not say its size. Received: {drawn[:80]}")
        inner_width, inner_height, width = map(float, size.groups())
        large = width > PAGE[0] or inner_height * width / inner_width > PAGE[1]
        half = width <= HALF and not boxed
        return cls(name, title, "svg", drawn.encode(), text, own_colours=True, scrolls=boxed and large, half=half)


@dataclass(frozen=True)
class Commands:
    """Lines for a shell."""

    kind: ClassVar[str] = "commands"
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Log:
    """Output of a tool, folded.

    Attributes:
        title: what is seen of it at first.
        text: the output.
    """

    kind: ClassVar[str] = "log"
    title: str
    text: str


Block = Note | Facts | Table | Picture | Commands | Log


@dataclass(frozen=True)
class Section:
    """A part of the page with a title.

    Attributes:
        key: its name in links, unique on the page.
        title: its heading.
        blocks: what it holds; never nothing.
    """

    key: str
    title: str
    blocks: tuple[Block, ...]

    def __post_init__(self) -> None:
        if not self.blocks:
            raise ValueError(f"The section {self.title!r} is empty; say why there is no answer")


@dataclass(frozen=True)
class Tile:
    """A figure at the top of the page.

    Attributes:
        label: what it is.
        value: the figure.
        note: in small print, how it came about.
        tone: "good", "bad" or "".
    """

    label: str
    value: str
    note: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Page:
    """A whole report.

    Attributes:
        title: what it is about.
        subject: what kind of thing that is, in a few words.
        lead: one or two sentences.
        made: when and with what it was written.
        tiles: the figures that a reader looks for first.
        sections: the rest.
    """

    title: str
    subject: str
    lead: str
    made: str
    tiles: tuple[Tile, ...]
    sections: tuple[Section, ...]

    def __post_init__(self) -> None:
        keys = [section.key for section in self.sections]
        names = [picture.name for picture in self.pictures]
        for what, found in (("sections", keys), ("pictures", names)):
            if twice := {name for name in found if found.count(name) > 1}:
                raise ValueError(f"Two {what} of a page have one name: {', '.join(sorted(twice))}")

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """All pictures in their order."""
        return tuple(b for section in self.sections for b in section.blocks if isinstance(b, Picture))

    def to_json(self) -> dict[str, Any]:
        """Plain values; of pictures the hash in place of their data."""
        found = asdict(self)
        for section, row in zip(self.sections, found["sections"], strict=True):
            for block, values in zip(section.blocks, row["blocks"], strict=True):
                values["kind"] = block.kind
                if isinstance(block, Picture):
                    values["sha256"] = sha256(values.pop("data")).hexdigest()
        return found
