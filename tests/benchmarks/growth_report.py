"""Fits, figure and extrapolation of the cost growth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from tests.benchmarks.harness import Row
from utils.plotting.style import METRIC_STYLES, WIDTH, save_figure, styled

MILLION, ADVERSARIAL = 1_000_000, 100_000
THEORY = {"DSA": 2, "LSA": 2}
"""Exponents for large n with a fixed number of classes; 1 for all others."""
LOOKS = dict(
    zip(
        ("LSA", "DSA", "FGSM", "BIM", "Carlini-Wagner", "retraining curve"),
        (METRIC_STYLES[m] for m in ("lsa", "dsa", "nc", "deepgini", "softmax_entropy", "random")),
        strict=True,
    )
)


@dataclass(frozen=True)
class Growth:
    """Cost of one subject by number of inputs."""

    subject: str
    n: np.ndarray
    seconds: np.ndarray
    megabytes: np.ndarray

    @cached_property
    def exponent(self) -> float:
        """Of n in the seconds: the slope in logarithms."""
        return float(np.polyfit(np.log(self.n), np.log(self.seconds), 1)[0])

    @property
    def theory(self) -> float:
        return THEORY.get(self.subject, 1)

    def seconds_at(self, n: int, exponent: float) -> float:
        """Extrapolated from the largest size."""
        return float(self.seconds[-1] * (n / self.n[-1]) ** exponent)

    def megabytes_at(self, n: int) -> float:
        """On a straight line through the measurements, never below the largest."""
        slope, start = np.polyfit(self.n, self.megabytes, 1)
        return float(max(start + slope * n, self.megabytes.max()))


def table_row(growth: Growth, source: str) -> Row:
    """One row: all measurements and the exponent; the largest size in the columns."""
    series = ", ".join(f"{n:,}: {s:.3g} s" for n, s in zip(growth.n, growth.seconds, strict=True))
    text = f"{series}; grows as n^{growth.exponent:.2f}"
    return Row(
        f"growth of {growth.subject}",
        f"{growth.n[0]:,} to {growth.n[-1]:,} inputs ({source})",
        "itself",
        text,
        [float(growth.seconds[-1])],
        ours_mb=float(growth.megabytes[-1]),
    )


@styled
def _figure(found: Sequence[Growth]) -> Figure:
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.2))
    for growth in found:
        colour, marker = LOOKS[growth.subject]
        look = {"color": colour, "marker": marker}
        label = f"{growth.subject}, $n^{{{growth.exponent:.2f}}}$"
        axes[0].plot(growth.n, growth.seconds, label=label, **look)
        axes[1].plot(growth.n, np.maximum(growth.megabytes, 1), **look)
    for axis, title, unit in zip(
        axes, ("Time", "Peak memory beside the inputs"), ("seconds", "MB"), strict=True
    ):
        axis.set(xscale="log", yscale="log", title=title, xlabel="number of inputs n", ylabel=unit)
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def draw(found: Sequence[Growth], out: Path) -> None:
    """Write ``growth.svg``, ``.png`` and ``.pdf``."""
    figure = _figure(found)
    save_figure(figure, out, "growth")
    plt.close(figure)


def notes(found: Sequence[Growth], curve: dict[str, int]) -> list[str]:
    """What a study on a million training inputs would cost, with what is assumed."""
    by_name = {growth.subject: growth for growth in found}
    lines = [
        f"**Extrapolated to {MILLION:,} training inputs** of 28 x 28 pixels in 10 classes and "
        f"the network of mnist, on this machine: {ADVERSARIAL:,} adversarial inputs for each of "
        f"training, validation and test, a third by each attack; {MILLION + ADVERSARIAL:,} "
        "inputs to score; 10 points of 10 epochs, six metrics, three configurations."
    ]
    for name in ("DSA", "LSA"):
        growth = by_name[name]
        times = [growth.seconds_at(MILLION, power) for power in (growth.exponent, growth.theory)]
        lines.append(
            f"{name}: {_time(times[0])} with the fitted exponent {growth.exponent:.2f}, "
            f"{_time(times[1])} with {growth.theory}, which the definition implies; "
            f"{growth.megabytes_at(MILLION) / 1000:.1f} GB beside the inputs."
        )
    for name in ("FGSM", "BIM", "Carlini-Wagner"):
        growth = by_name[name]
        seconds = growth.seconds_at(ADVERSARIAL, growth.theory)
        memory = growth.megabytes_at(ADVERSARIAL) / 1000
        lines.append(f"{name} on {ADVERSARIAL:,} inputs: {_time(seconds)}; {memory:.1f} GB.")
    growth = by_name["retraining curve"]
    passes = growth.n[-1] * sum(_shares(curve["points"])) * curve["epochs"]
    second = growth.seconds[-1] / passes
    whole = [n * sum(_shares(10)) * 10 for n in (MILLION + ADVERSARIAL, ADVERSARIAL)]
    lines.append(
        f"Retraining: {1e3 * second:.3g} ms an input and epoch, so {_time(second * whole[0])} a "
        f"curve of configurations 1 and 2, {_time(second * whole[1])} of configuration 3, "
        f"{_time(second * 6 * (2 * whole[0] + whole[1]))} for all 18 curves; "
        f"{growth.megabytes_at(MILLION + ADVERSARIAL) / 1000:.1f} GB beside the inputs."
    )
    return lines


def _shares(points: int) -> list[float]:
    return [point / points for point in range(1, points + 1)]


def _time(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.2g} s"
