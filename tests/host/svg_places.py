# SPDX-License-Identifier: Apache-2.0
"""What a drawing shows, read back from its SVG text: boxes, words, lines and whether any of them are in the way."""

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass

import numpy as np

SVG = "{http://www.w3.org/2000/svg}"
TITLE, TEXT, CHARACTER = 11.0, 9.5, 0.602


@dataclass(frozen=True)
class Area:
    """A rectangle and what it is."""

    what: str
    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other, slack=0.01):
        return (
            self.left < other.right - slack
            and other.left < self.right - slack
            and self.top < other.bottom - slack
            and other.top < self.bottom - slack
        )

    def holds(self, x, y):
        return (self.left < x) & (x < self.right) & (self.top < y) & (y < self.bottom)


@dataclass(frozen=True)
class Shown:
    """One drawing; places are those of its middle part."""

    boxes: list
    words: list
    links: list
    kinds: list
    size: tuple


def read(svg):
    root = ET.fromstring(svg)
    boxes, words, kinds = [], [], []
    for group in root.iter(f"{SVG}g"):
        if group.get("class") != "h4a-box":
            continue
        rect = group.find(f"{SVG}rect")
        x, y, w, h = (float(rect.get(k)) for k in ("x", "y", "width", "height"))
        boxes.append((Area(group.get("data-box"), x, y, x + w, y + h), group))
        kinds.append(group.get("data-kind"))
        for text in group.iter(f"{SVG}text"):
            size = TITLE if text.get("class") == "h4a-name" else TEXT
            half = len(text.text) * size * CHARACTER / 2
            at, base = float(text.get("x")), float(text.get("y"))
            label = text.get("class") == "h4a-label"
            words.append(
                (Area(text.text, at - half, base - 0.76 * size, at + half, base + 0.24 * size), label, len(boxes) - 1)
            )
    links = [
        (
            int(g.get("data-source")),
            int(g.get("data-target")),
            g.get("data-tensor"),
            points(g.find(f"{SVG}path").get("d")),
        )
        for g in root.iter(f"{SVG}g")
        if g.get("class") == "h4a-link"
    ]
    size = tuple(map(float, root.get("viewBox").split()[2:]))
    return Shown(boxes, words, links, kinds, size)


def points(path):
    """Points along a path of M, V, L, C and Q pieces, a unit apart or less."""
    found, at = [], None
    for kind, text in re.findall(r"([MVLCQ])([^MVLCQ]*)", path):
        numbers = [float(v) for v in text.split()]
        if kind == "M":
            at = tuple(numbers)
            continue
        through = [(at[0], numbers[0])] if kind == "V" else list(zip(numbers[::2], numbers[1::2], strict=True))
        control = np.array([at, *through])
        while len(control) < 4:  # the same curve by four points
            n = len(control)
            inner = [(k * control[k - 1] + (n - k) * control[k]) / n for k in range(1, n)]
            control = np.array([control[0], *inner, control[-1]])
        t = np.linspace(0, 1, 2 + int(np.abs(np.diff(control, axis=0)).sum()))[:, None]
        a, b, c, d = control
        found.append((1 - t) ** 3 * a + 3 * t * (1 - t) ** 2 * b + 3 * t**2 * (1 - t) * c + t**3 * d)
        at = through[-1]
    return np.concatenate(found)


def collisions(shown):
    """What is in the way of what, in words."""
    areas = [(box, k) for k, (box, _) in enumerate(shown.boxes)] + [(w, k) for w, label, k in shown.words if label]
    found = [
        f"{a.what} overlaps {b.what}"
        for n, (a, _) in enumerate(areas)
        for b, _ in areas[:n]
        if a.overlaps(b)
    ]  # fmt: skip
    found += [
        f"{word.what} is wider than its box"
        for word, label, k in shown.words
        if not label and not (shown.boxes[k][0].left < word.left and word.right < shown.boxes[k][0].right)
    ]
    for source, target, tensor, line in shown.links:
        inside = [a.what for a, _ in areas if a.holds(line[:, 0], line[:, 1]).any()]
        found += [f"{tensor} from {source} to {target} runs through {what}" for what in inside]
    return found
