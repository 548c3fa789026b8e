# SPDX-License-Identifier: Apache-2.0
"""matplotlib figures as elements of a page: SVG text that needs no file, no font and no background."""

from __future__ import annotations

import hashlib
import io
import re
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from xml.sax.saxutils import escape

from hls4attn.host.estimate import figure as empty_figure
from hls4attn.models.errors import ToolError

#: Colours that stand out from white and from black, also for eyes that do not tell red from green.
PALETTE = ("#3b82c4", "#e07b39", "#8a63b5", "#2f9e7d")
#: Pixels of a page in a unit of matplotlib; below `SMALLEST` units, text has less than 10 pixels.
PIXELS, SMALLEST = 4 / 3, 7.5
#: Characters of a name in a figure.
LONGEST = 41
#: Stands for the colour of the page's text until the figure is finished.
INK = "#012345"
#: Control, format, private, surrogate and unassigned characters.
_UNSHOWN = ("Cc", "Cf", "Co", "Cs", "Cn")
_STYLE: dict[Any, Any] = {
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
    **dict.fromkeys(("xtick.labelcolor", "ytick.labelcolor", "grid.color", "legend.labelcolor"), INK),
    **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor", "legend.facecolor"), "none"),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-5, 9),
    "text.parse_math": False,
    "axes.unicode_minus": False,
    "savefig.dpi": 144,
    "svg.fonttype": "none",
    "svg.hashsalt": "hls4attn",
    "image.composite_image": False,
}


def clean(text: str) -> str:
    """Text without what XML does not allow and what changes how other text is shown, such as a terminal's colours."""
    if text.isascii() and text.isprintable():
        return text
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(c if c in "\n\t" or unicodedata.category(c) not in _UNSHOWN else "\ufffd" for c in lines)


def short(name: str, limit: int = LONGEST) -> str:
    """A name on one line, without its middle if it is too long to leave room for the figure beside it."""
    line = " ".join(name.split())
    half = (limit - 1) // 2
    return line if len(line) <= limit else f"{line[:half]}…{line[-half:]}"


@contextmanager
def canvas(width: float, height: float) -> Iterator[Any]:
    """An empty figure, and the style of all figures while it is filled.

    Args:
        width: in inches of 72 units.
        height: likewise.

    Raises:
        ToolError: if matplotlib is missing.
    """
    drawn = empty_figure(width, height)
    from matplotlib import rc_context

    with rc_context(_STYLE):
        drawn.set_facecolor("none")
        yield drawn


def inline_svg(drawn: Any, title: str) -> str:
    """A figure as one `<svg>` element for a page.

    Args:
        drawn: the figure, made in a `canvas`.
        title: what a screen reader says.

    Raises:
        ToolError: if matplotlib writes what this does not understand.
    """
    from matplotlib import rc_context

    buffer = io.BytesIO()
    with rc_context(_STYLE), warnings.catch_warnings():
        # The page's fonts show the text; only its width is measured with matplotlib's.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        drawn.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = clean(buffer.getvalue().decode())
    text = text[text.index("<svg") :].rstrip()
    text = re.sub(r"\s*<metadata>.*?</metadata>|<style[^>]*>.*?</style>", "", text, flags=re.DOTALL)
    opening = re.match(r"<svg[^>]*>", text)
    box = re.search(r'viewBox="([^"]*)"', text)
    if opening is None or box is None:
        raise ToolError("matplotlib wrote an SVG without an opening tag or a viewBox; use the pinned version")
    mark = "f" + hashlib.sha256(f"{title}\n{text}".encode()).hexdigest()[:10]
    seen: dict[str, int] = {}
    inner = re.sub(r"<[^>]*>", lambda tag: _own(tag.group(), mark, seen), text[opening.end() :])
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" class="figure" role="img" '
        f'viewBox="{box.group(1)}" width="{float(box.group(1).split()[2]) * PIXELS:g}" '
        f'style="stroke-linejoin:round;stroke-linecap:butt">'
        f"<title>{escape(clean(title))}</title>{inner}\n"
    )


def _own(tag: str, mark: str, seen: dict[str, int]) -> str:
    """A tag with ids of its own, and in the colour of the page's text; what stands between tags is left alone.

    matplotlib gives the same shape in two collections the same id; only the first one keeps it.
    """

    def unique(found: re.Match[str]) -> str:
        name = found.group(1)
        seen[name] = seen.get(name, 0) + 1
        return f' id="{mark}-{name}"' if seen[name] == 1 else f' id="{mark}-{name}-{seen[name]}"'

    tag = re.sub(r'\sid="([^"]*)"', unique, tag)
    return tag.replace("url(#", f"url(#{mark}-").replace('href="#', f'href="#{mark}-').replace(INK, "currentColor")
