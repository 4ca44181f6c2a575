"""What all benchmarks share: measure in turn, compare results, judge; a row of the table each.

pytest-benchmark times one function a test, all its rounds in a row, and asv and pyperf one
program after another. The speed of most machines drifts, and then such rounds measure the drift:
here contenders run in turn, and only neighbouring runs are divided. These tools also know no
results that must agree before a time counts, no work that is measured in part, no target, and no
peak memory of a process with its children. What would be left to them is a loop and a median.
"""

from __future__ import annotations

import ctypes
import gc
import pkgutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from utils.machine.meter import Meter

SLOW_SECONDS = 60.0
"""A contender whose first run takes longer is not run again: that run counts."""

MISSING = "not installed: pip install -r tests/benchmarks/requirements.txt"

Work = Callable[[], Any]

log = partial(print, flush=True)


@dataclass(frozen=True)
class Setting:
    """Where a benchmark writes, and whether sizes are tiny."""

    out: Path
    quick: bool = False

    def size(self, full: int, quick: int) -> int:
        return quick if self.quick else full


@dataclass(frozen=True)
class Comparison:
    """What comparing results gave.

    `equal` is False if results that should be equal are not (None: nothing has to be equal);
    `good` is False if ours is worse where the target asks for no worse.
    """

    text: str = ""
    equal: bool | None = None
    good: bool = True


@dataclass(frozen=True)
class Target:
    """What is asked for: limits, of which only those that are given count.

    `speedup` is the least of their time over ours, `slowdown` the most of our time over theirs,
    `seconds` and `megabytes` are our most.
    """

    text: str = ""
    speedup: float | None = None
    slowdown: float | None = None
    seconds: float | None = None
    megabytes: float | None = None


@dataclass
class Run:
    """One contender's runs: seconds of each, peak memory (MB) above what was there before."""

    seconds: list[float]
    megabytes: float | None = None
    result: Any = None


@dataclass(frozen=True)
class Peer:
    """What ours is measured against.

    `work` is None if it is not installed. `compare` takes our result and theirs. `part` is the
    share of the whole work that `work` does: its seconds are scaled to the whole.
    """

    against: str
    work: Work | None
    target: Target = Target()
    compare: Callable[[Any, Any], Comparison] = lambda *_: Comparison()
    part: float = 1.0


@dataclass
class Row:
    """One row of the table; `ours` and `theirs` are seconds of each run.

    `shown` is the ratio that is given: ``speedup`` (theirs / ours) or ``slowdown``.
    """

    what: str
    size: str
    against: str
    results: str = ""
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    ours_mb: float | None = None
    theirs_mb: float | None = None
    target: str = ""
    shown: str = "speedup"
    met: bool | None = None
    equal: bool | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, with medians and ratios, for the JSON file."""
        return asdict(self) | {
            "ours_median": median(self.ours) if self.ours else None,
            "theirs_median": median(self.theirs) if self.theirs else None,
            "ratio": ratio(self.ours, self.theirs, self.shown) if self.theirs else None,
        }


def ratio(ours: list[float], theirs: list[float], shown: str) -> tuple[float, float, float]:
    """Median, smallest and largest ratio of neighbouring runs.

    Runs of a pair shared the same moment of a machine whose speed drifts. Where one side ran
    once, each run of the other is compared with that one.
    """
    same = len(ours) == len(theirs)
    pairs = zip(ours, theirs, strict=True) if same else product(ours, theirs)
    ratios = [b / a if shown == "speedup" else a / b for a, b in pairs]
    return median(ratios), min(ratios), max(ratios)


def contest(
    setting: Setting,
    what: str,
    size: str,
    ours: Work,
    peers: Sequence[Peer],
    repeats: int = 5,
    slow: float = SLOW_SECONDS,
) -> list[Row]:
    """Race ours and all peers that are installed; a row for each peer."""
    there = {peer.against: peer for peer in peers if peer.work}
    rows = {peer.against: missing(what, size, peer.against, peer.target) for peer in peers}
    if not there:
        return list(rows.values())

    def compare(results: dict[str, Any]) -> dict[str, Comparison]:
        return {name: peer.compare(results["ours"], results[name]) for name, peer in there.items()}

    contenders = {"ours": ours} | {name: peer.work for name, peer in there.items()}
    runs, found = race(contenders, setting.size(repeats, 1), compare, slow)
    for name, peer in there.items():
        whole = Run([seconds / peer.part for seconds in runs[name].seconds], runs[name].megabytes)
        verdict = (found[name], peer.target, setting.quick)
        rows[name] = row(what, size, name, runs["ours"], whole, *verdict)
    return list(rows.values())


def race(
    contenders: Mapping[str, Work],
    repeats: int,
    compare: Callable[[dict[str, Any]], Any] | None = None,
    slow: float = SLOW_SECONDS,
) -> tuple[dict[str, Run], Any]:
    """Run each once to warm up and measure memory, compare the results, then time all in turn.

    A contender whose first run took longer than `slow` seconds is not run again: that run counts.

    Returns
    -------
    runs : dict of str to Run
        Without the results.
    comparison
        What `compare` made of the results by name; None without it.
    """
    gc.collect()
    gc.freeze()  # collections that some peers ask for need not walk through what is here already
    runs = {}
    for name, work in contenders.items():
        runs[name] = peak(work)
        log(f"  {name}: first run {runs[name].seconds[0]:.3g} s, {runs[name].megabytes:.0f} MB")
    comparison = compare({name: run.result for name, run in runs.items()}) if compare else None
    again = {name: run for name, run in runs.items() if run.seconds[0] <= slow}
    for run in runs.values():
        run.result = None
    for run in again.values():
        run.seconds.clear()
    for number in range(repeats if again else 0):
        for name, run in again.items():
            run.seconds.append(timed(contenders[name]))
        shown = ", ".join(f"{name} {run.seconds[-1]:.3g} s" for name, run in again.items())
        log(f"  {number + 1} of {repeats}: {shown}")
    return runs, comparison


def timed(work: Work) -> float:
    """Seconds of one run; garbage of the run before is collected outside of it."""
    gc.collect()
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def peak(work: Work) -> Run:
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
    theirs: Run | None = None,
    comparison: Comparison | None = None,
    target: Target = Target(),
    quick: bool = False,
) -> Row:
    """Put measurements together and judge them; tiny sizes are not judged."""
    found = comparison or Comparison()
    made = Row(what, size, against, found.text, ours.seconds, ours_mb=ours.megabytes)
    made.target, made.equal = target.text, found.equal
    made.shown = "speedup" if target.slowdown is None else "slowdown"
    if theirs:
        made.theirs, made.theirs_mb = theirs.seconds, theirs.megabytes
    checks: dict[str, Callable[[float], bool]] = {
        "speedup": lambda least: ratio(made.ours, made.theirs, "speedup")[0] >= least,
        "slowdown": lambda most: ratio(made.ours, made.theirs, "slowdown")[0] <= most,
        "seconds": lambda most: median(made.ours) <= most,
        "megabytes": lambda most: made.ours_mb <= most,
    }
    limits = {name: getattr(target, name) for name in checks}
    kept = [checks[name](limit) for name, limit in limits.items() if limit is not None]
    if kept and not quick:
        made.met = all(kept) and found.good and found.equal is not False
    return made


def missing(what: str, size: str, against: str, target: Target) -> Row:
    """The row of a peer that is not installed."""
    return Row(what, size, against, MISSING, target=target.text)


def own_process() -> ProcessPoolExecutor:
    """A process that shares no state, memory or threads with this one."""
    return ProcessPoolExecutor(1, get_context("spawn"))


def call(function: str, setting: Setting) -> list[Row | str]:
    """What a benchmark (``module:function``) gives; run in a process of its own."""
    log(f"{function} ...")
    begin = time.monotonic()
    found = list(pkgutil.resolve_name(function)(setting))
    log(f"{function}: done, {time.monotonic() - begin:.0f} s")
    return found
