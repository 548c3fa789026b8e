# SPDX-License-Identifier: Apache-2.0
"""A report on disk: one HTML file that asks nobody for anything, and its twin in Markdown with the pictures beside it.

Both come from the same content.  The HTML file forbids itself, by a policy in its head, all scripts but its own and all
addresses.
"""

from __future__ import annotations

import base64
import re
from functools import cache
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hls4attn.host.report.content import Page, Picture
from hls4attn.host.report.inline import clean
from hls4attn.models.errors import ToolError
from hls4attn.models.files import atomic_write

#: SVG up to this size is part of the page itself, so that its text can be searched; above it is a picture.
INLINE_BYTES = 1_500_000
_HERE = Path(__file__).parent
_PROLOGUE = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>", re.DOTALL)
#: Of Markdown, what would be markup; an underscore inside a word is none.
_SPECIAL = re.compile(r"([\\`*\[\]|~$#@])|(?<!\w)_|_(?!\w)|:(?=//)|(?<=www)\.")
#: What at the beginning of a line makes it a list or a heading.
_OPENING = re.compile(r"^(\d*)([-+=.)]+(?:\s|$))")


def html(page: Page) -> str:
    """The report as one HTML document.

    Raises:
        ToolError: if Jinja2 is missing.
    """
    script, style = (_template(name).render() for name in ("script.js.j2", "style.css.j2"))
    digest = base64.b64encode(sha256(script.encode()).digest()).decode()
    return _text("html.j2", page=page, script=_safe(script), style=_safe(style), script_hash=digest)


def markdown(page: Page, folder: str) -> str:
    """The report in Markdown.

    Args:
        page: what it says.
        folder: of its pictures, relative to the file.

    Raises:
        ToolError: if Jinja2 is missing.
    """
    return re.sub(r"\n{3,}", "\n\n", _text("md.j2", page=page, folder=quote(folder)))


def write(page: Page, target: Path) -> Path:
    """Write both twins, the HTML file last.

    Args:
        page: what they say.
        target: the HTML file; the Markdown file and the folder of pictures go beside it.

    Returns:
        The Markdown file.

    Raises:
        ModelFileError: if they cannot be written.
        ToolError: if Jinja2 is missing.
    """
    folder = target.with_name(f"{target.stem}_files")
    document, text = html(page), markdown(page, folder.name)
    for picture in page.pictures:
        atomic_write(folder / file_name(picture), _alone(picture))
    atomic_write(twin(target), text.encode())
    atomic_write(target, document.encode())
    return twin(target)


def twin(target: Path) -> Path:
    """The Markdown file beside an HTML file."""
    return target.with_suffix(".md")


def _alone(picture: Picture) -> bytes:
    """A picture as a file: one that has the page's colours gets those of paper."""
    if picture.form != "svg" or not picture.own_colours:
        return picture.data
    head, mark, rest = picture.data.partition(b">")
    return head + mark + b"<style>svg{background:#ffffff;color:#1b2330}</style>" + rest


def file_name(picture: Picture) -> str:
    """Name of a picture's file."""
    return f"{picture.name}.{picture.form}"


@cache
def _environment() -> Any:
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise ToolError('Jinja2 is not installed: pip install "hls4attn[report]"') from error
    loader = FileSystemLoader(_HERE)
    found = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: clean(value) if type(value) is str else value,  # what filters have made is clean
    )
    found.filters |= {"md": _md, "cell": _cell, "fence": _fence}
    found.filters |= {"unbroken": _unbroken, "embedded": _embedded, "file": file_name}
    return found


def _template(name: str) -> Any:
    return _environment().get_template(name)


def _text(name: str, **values: Any) -> str:
    return f"{_template(name).render(**values).strip()}\n"


def _safe(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text)  # our own files and drawings


def _md(text: str) -> Any:
    """A line of text that means itself in Markdown, also where it is a paragraph of its own."""
    return _safe(_OPENING.sub(r"\1\\\2", _inert(text)))


def _inert(text: str) -> str:
    """Text that means itself inside a line: HTML's characters become entities, Markdown's get a backslash."""
    one_line = " ".join(clean(str(text)).split())
    parts: list[str] = []
    last = 0
    for match in _SPECIAL.finditer(one_line):
        parts += [escape(one_line[last : match.start()], quote=False), f"\\{match.group()}"]
        last = match.end()
    return "".join([*parts, escape(one_line[last:], quote=False)])


def _unbroken(text: str) -> Any:
    """Text in HTML whose command-line options do not break at their hyphens."""
    words = (escape(word) for word in clean(str(text)).split(" "))
    return _safe(" ".join(f'<span class="option">{w}</span>' if w.startswith("--") else w for w in words))


def _cell(text: str) -> Any:
    """Text in a cell of a Markdown table, which must not be empty."""
    return _safe(_inert(text) or "&nbsp;")


def _fence(text: str) -> Any:
    """A block of code whose fence is longer than any inside it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return _safe(f"{fence}text\n{clean(text).rstrip()}\n{fence}")


def _embedded(picture: Picture) -> Any:
    """A picture inside HTML: small SVG as it is, all else as data of an image."""
    if picture.form == "svg" and len(picture.data) <= INLINE_BYTES:
        return _safe(_PROLOGUE.sub("", picture.data.decode()).strip())
    kind = {"svg": "image/svg+xml", "png": "image/png"}[picture.form]
    data = base64.b64encode(_alone(picture)).decode()
    return _safe(f'<img src="data:{kind};base64,{data}" alt="{escape(clean(picture.text or picture.title))}">')
