"""Letters of any script: fonts to fall back on, and what is shown where no font has a letter."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text

FEW = 12
"""Classes up to which there is room for large labels, and for the counts of a confusion matrix."""
FALLBACKS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK TC", "Noto Sans CJK KR", "Noto Sans SC",
    "Noto Sans JP", "Noto Sans TC", "Noto Sans KR", "Source Han Sans SC", "Source Han Sans",
    "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Droid Sans Fallback", "IPAexGothic", "IPAGothic",
    "TakaoGothic", "VL Gothic", "NanumGothic", "UnDotum", "Baekmuk Gulim", "AR PL UMing CN",
    "Microsoft YaHei", "SimHei", "SimSun", "Microsoft JhengHei", "Yu Gothic", "Meiryo", "MS Gothic",
    "Malgun Gothic", "PingFang SC", "Hiragino Sans", "Hiragino Sans GB", "Heiti TC", "STHeiti",
    "Apple SD Gothic Neo", "AppleGothic", "Noto Sans Devanagari", "Noto Sans Bengali",
    "Noto Sans Tamil", "Noto Sans Telugu", "Noto Sans Thai", "Noto Sans Hebrew", "Noto Sans Arabic",
    "Noto Sans", "Noto Sans Symbols", "Noto Sans Symbols2", "Noto Emoji", "Nirmala UI",
    "Leelawadee UI", "Segoe UI Symbol", "Arial Unicode MS", "FreeSans", "FreeSerif", "Unifont",
)  # fmt: skip
"""Families with letters that DejaVu Sans lacks, as systems have them; those installed are used."""

FAMILIES = [
    "DejaVu Sans",  # ships with matplotlib: same letters on every machine
    *(name for name in FALLBACKS if name in set(font_manager.get_font_names())),
]


@cache
def _has(letter: str) -> bool:
    """Whether a font of `FAMILIES` can draw a letter."""
    paths = (font_manager.findfont(name, fallback_to_default=False) for name in FAMILIES)
    return any(font_manager.get_font(path).get_char_index(ord(letter)) for path in paths)


def can_draw(text: str) -> bool:
    """Whether every letter of a text has a font here."""
    return all(letter == "\n" or _has(letter) for letter in text)


def drawable(text: str) -> str:
    r"""The text, with the code of each letter that no font here has, such as ``\u732b``."""
    if can_draw(text):
        return text
    return "".join(
        c if c == "\n" or _has(c) else c.encode("unicode_escape").decode("ascii") for c in text
    )


def class_labels(figure: Figure, names: Sequence[str]) -> list[str]:
    """Names of classes for a figure; ``class 3`` and a note where no font here has the letters."""
    labels = [name if can_draw(name) else f"class {i}" for i, name in enumerate(map(str, names))]
    if labels != [str(name) for name in names]:
        _note(figure, "class 0, class 1, ...: names in letters that no font on this machine has")
    return labels


def make_drawable(figure: Figure) -> None:
    """Replace what no font here has in all texts of a figure, with a note below it."""
    texts = [text for text in figure.findobj(Text) if not can_draw(text.get_text())]
    for text in texts:
        text.set_text(drawable(text.get_text()))
    ticks = [a for axes in figure.axes for a in (axes.xaxis, axes.yaxis) if _replace_ticks(a)]
    if texts or ticks:
        _note(figure, r"\u...: codes of letters that no font on this machine has")


def _replace_ticks(axis: Axis) -> bool:
    """The same for the labels of an axis, which are made anew from its formatter."""
    labels = [label.get_text() for label in axis.get_ticklabels()]
    missing = not all(map(can_draw, labels))
    if missing:
        axis.set_ticks(axis.get_ticklocs(), list(map(drawable, labels)))
    return missing


def _note(figure: Figure, text: str) -> None:
    if text not in [shown.get_text() for shown in figure.texts]:
        line = 0.25 * len(figure.texts) / figure.get_figheight()
        figure.text(0.01, -0.01 - line, text, fontsize=8, va="top")


def class_ticks(axis: Axes, class_names: Sequence[str], which: str, room: float = np.inf) -> None:
    """Label the classes, cut at 28 letters, smaller if many, turned if over `room` inches wide."""
    labels = class_labels(axis.figure.get_figure(root=True), class_names)
    names = [n if len(n) <= 28 else n[:27] + "…" for n in labels]
    many = len(names) > FEW
    turned = max(map(len, names)) * 0.09 > room
    ticks = axis.set_xticks if which == "x" else axis.set_yticks
    ticks(range(len(names)), names, fontsize=7 if many else 9, rotation=90 if turned else 0)
