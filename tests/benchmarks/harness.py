"""What all benchmarks share: run in turn, measure, compare, judge; one row of the table each."""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from utils.machine.meter import Meter

SLOW_SECONDS = 60.0
"""A contender whose first run takes longer is not run again: that run counts."""

MISSING = "not installed: pip install -r tests/benchmarks/requirements.txt"


@dataclass(frozen=True)
class Setting:
    """Where a benchmark writes and how large it is."""

    out: Path
    quick: bool = False

    def size(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    def repeats(self, full: int = 5) -> int:
        return self.size(full, 1)


@dataclass(frozen=True)
class Comparison:
    """What comparing results gave.

    `equal` is False if results that should be equal are not (None: nothing has to be equal);
    `good` is False if ours is worse where the target asks for no worse.
    """

    text: str
    equal: bool | None = None
    good: bool = True


@dataclass(frozen=True)
class Target:
    """What is asked for; only what is given counts."""

    text: str
    speedup: float | None = None
    """Least of their time over ours."""
    slowdown: float | None = None
    """Most of our time over theirs."""
    seconds: float | None = None
    megabytes: float | None = None


@dataclass
class Run:
    """One contender's runs: seconds of each, peak memory (MB) above what was there before."""

    seconds: list[float] = field(default_factory=list)
    megabytes: float = float("nan")
    result: Any = None


@dataclass
class Row:
    """One row of the table; `ours` and `theirs` are seconds of each run."""

    what: str
    size: str
    against: str
    results: str = ""
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    ours_mb: float = float("nan")
    theirs_mb: float = float("nan")
    target: str = ""
    shown: str = "speedup"
    """Which way the ratio is told: ``speedup`` (theirs / ours) or ``slowdown`` (ours / theirs)."""
    met: bool | None = None
    equal: bool | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, with medians and ratios, for the JSON file."""
        extra: dict[str, Any] = {"ours_median": None, "theirs_median": None, "ratio": None}
        if self.ours:
            extra["ours_median"] = median(self.ours)
        if self.theirs:
            extra["theirs_median"] = median(self.theirs)
        if self.ours and self.theirs:
            extra["ratio"] = ratio(self.ours, self.theirs, self.shown)
        values = {**asdict(self), **extra}
        return {name: None if value != value else value for name, value in values.items()}


def ratio(ours: list[float], theirs: list[float], shown: str) -> tuple[float, float, float]:
    """Median, smallest and largest ratio of runs that stood next to each other.

    Runs of a pair shared the same moment of a machine whose speed drifts. Where one side ran
    once, each run of the other is compared with that one.
    """
    same = len(ours) == len(theirs)
    pairs = zip(ours, theirs, strict=True) if same else product(ours, theirs)
    ratios = [b / a if shown == "speedup" else a / b for a, b in pairs]
    return median(ratios), min(ratios), max(ratios)


def race(
    contenders: Mapping[str, Callable[[], Any]],
    repeats: int,
    compare: Callable[[dict[str, Any]], Any] | None = None,
    slow: float = SLOW_SECONDS,
    warm_up: bool = True,
) -> tuple[dict[str, Run], Any]:
    """Run each once to warm up and measure memory, compare the results, then time all in turn.

    A contender whose first run took longer than `slow` seconds is not run again. Without
    `warm_up`, the first runs count.

    Returns
    -------
    runs : dict of str to Run
        Without the results.
    comparison
        What `compare` made of the results by name; None without it.
    """
    _freeze()
    runs = {}
    for name, work in contenders.items():
        runs[name] = peak(work)
        tell(f"  {name}: first run {runs[name].seconds[0]:.3g} s, {runs[name].megabytes:.0f} MB")
    comparison = compare({name: run.result for name, run in runs.items()}) if compare else None
    for run in runs.values():
        run.result = None
    waiting = [name for name, run in runs.items() if run.seconds[0] <= slow]
    if warm_up:
        for name in waiting:
            runs[name].seconds.clear()
    for number in range(0 if warm_up else 1, repeats if waiting else 0):
        for name in waiting:
            runs[name].seconds.append(timed(contenders[name]))
        shown = ", ".join(f"{name} {runs[name].seconds[-1]:.3g} s" for name in waiting)
        tell(f"  {number + 1} of {repeats}: {shown}")
    return runs, comparison


def _freeze() -> None:
    """Let no collection of rubbish, which some peers ask for, walk through what is ours."""
    gc.collect()
    gc.freeze()


def timed(work: Callable[[], Any]) -> float:
    """Seconds of one run; rubbish of the run before is collected outside of it."""
    gc.collect()
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def peak(work: Callable[[], Any]) -> Run:
    """Run once, watching the memory of this process and its children."""
    meter = _meter()
    gc.collect()
    with suppress(OSError, AttributeError):  # glibc keeps freed memory, which would hide a peak
        ctypes.CDLL(None).malloc_trim(0)
    before = psutil.Process().memory_info().rss / 1e6
    with meter.measure() as usage:
        result = work()
    return Run([usage.wall_seconds], max(0.0, usage.memory_peak_mb - before), result)


@cache
def _meter() -> Meter:
    return Meter(interval=0.01)


def row(
    what: str,
    size: str,
    against: str,
    ours: Run,
    theirs: Run | None,
    comparison: Comparison | None,
    target: Target,
    quick: bool = False,
) -> Row:
    """Put measurements together and judge them; tiny sizes are not judged."""
    comparison = comparison or Comparison("")
    shown = "slowdown" if target.slowdown is not None else "speedup"
    made = Row(
        what,
        size,
        against,
        comparison.text,
        ours.seconds,
        [],
        ours.megabytes,
        target=target.text,
        shown=shown,
        equal=comparison.equal,
    )
    if theirs:
        made.theirs, made.theirs_mb = theirs.seconds, theirs.megabytes
    judged = [
        made.theirs and ratio(made.ours, made.theirs, "speedup")[0] >= target.speedup
        if target.speedup is not None
        else None,
        made.theirs and ratio(made.ours, made.theirs, "slowdown")[0] <= target.slowdown
        if target.slowdown is not None
        else None,
        median(made.ours) <= target.seconds if target.seconds is not None else None,
        made.ours_mb <= target.megabytes if target.megabytes is not None else None,
    ]
    judged = [bool(verdict) for verdict in judged if verdict is not None]
    if judged and not quick:
        made.met = all(judged) and comparison.good and comparison.equal is not False
    return made


def missing(what: str, size: str, against: str, target: Target) -> Row:
    """The row of a peer that is not installed."""
    return Row(what, size, against, MISSING, target=target.text)


def installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def fastest(candidates: Mapping[Any, Callable[[], Any]]) -> Any:
    """Key of the candidate that is fastest in its second run."""
    _freeze()
    seconds = {}
    for key, work in candidates.items():
        work()
        seconds[key] = timed(work)
    tell("  " + ", ".join(f"{key}: {value:.3g} s" for key, value in seconds.items()))
    return min(seconds, key=seconds.get)


def tell(text: str) -> None:
    """A line for people who wait."""
    print(text, flush=True)
