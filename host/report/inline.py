# SPDX-License-Identifier: Apache-2.0
"""matplotlib figures as elements of a page: SVG text that needs no file, no font and no background."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from xml.sax.saxutils import escape

from hls4attn.host.estimate import figure as empty_figure

#: Colours that stand out from white and from black, also for eyes that do not tell red from green.
PALETTE = ("#3b82c4", "#e07b39", "#8a63b5", "#2f9e7d")
#: Stands for the colour of the page's text until the figure is finished.
_INK = "#012345"
_STYLE = {
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK),
    **dict.fromkeys(("xtick.labelcolor", "ytick.labelcolor", "grid.color", "legend.labelcolor"), _INK),
    **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor", "legend.facecolor"), "none"),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "text.parse_math": False,
    "axes.formatter.use_mathtext": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "hls4attn",
    "image.composite_image": False,
}


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
    """
    from matplotlib import rc_context

    buffer = io.BytesIO()
    with rc_context(_STYLE):
        drawn.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue().decode()
    text = text[text.index("<svg") :].rstrip()
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = text.replace(_INK, "currentColor")
    mark = "f" + hashlib.sha256(f"{title}\n{text}".encode()).hexdigest()[:10]
    text = re.sub(r'(<[^>]*?\sid=")', rf"\g<1>{mark}-", text)
    text = text.replace("url(#", f"url(#{mark}-").replace('href="#', f'href="#{mark}-')
    opening = text[: text.index(">") + 1]
    size = re.search(r'viewBox="([^"]*)"', opening)
    box = size.group(1) if size else ""
    width = box.split()[2] if box else "600"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" class="figure" '
        f'role="img" viewBox="{box}" width="{width}" style="max-width:100%;height:auto">'
        f"<title>{escape(title)}</title>"
    )
    return head + text[len(opening) :] + "\n"
