"""Run the benchmarks, each in a process of its own, and write the table.

Exit codes: 0 all ran, 1 one failed to run or results that should be equal are not, 2 bad
arguments. A missed target does not fail: the table says it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

from tests.benchmarks.harness import Setting, tell
from tests.benchmarks.table import measured_before, write
from utils.core.paths import ROOT

BENCHMARKS: dict[str, str] = {
    "dsa": "tests.benchmarks.metrics:dsa_peer",
    "dsa-product": "tests.benchmarks.metrics:dsa_product",
    "dsa-large": "tests.benchmarks.metrics:dsa_large",
    "lsa": "tests.benchmarks.metrics:lsa_scipy",
    "nc": "tests.benchmarks.forward:coverage",
    "six-metrics": "tests.benchmarks.forward:six_metrics",
    "fgsm": "tests.benchmarks.attacks:fgsm_peers",
    "bim": "tests.benchmarks.attacks:bim_peers",
    "cw-short": "tests.benchmarks.attacks:cw_short",
    "curve-digits": "tests.benchmarks.retraining:digits",
    "curve-mnist": "tests.benchmarks.retraining:mnist",
    "study": "tests.benchmarks.study:study",
    "planning": "tests.benchmarks.planning:planning",
    "whole-run": "tests.benchmarks.whole_run:whole_run",
    "growth": "tests.benchmarks.growth:growth",
    "cw-long": "tests.benchmarks.attacks:cw_long",  # last: takes longest
}
"""Name -> the function ``(Setting) -> (rows, notes)`` that measures it."""


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"benchmarks: {message}; see --help\n")


def main(arguments: Sequence[str] | None = None, known: Mapping[str, str] = BENCHMARKS) -> int:
    """Parse, run, write; return the exit code."""
    parser = OneLineParser(
        prog="python -m tests.benchmarks", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does all run?")
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="NAME",
        help=f"measure these and keep the others' rows; of {', '.join(known)}",
    )
    parser.add_argument("--out", default="build/benchmarks", help="folder; default %(default)s")
    options = parser.parse_args(arguments)
    for name in options.only or []:
        if name not in known:
            parser.error(f"--only: expected some of {', '.join(known)}, got {name!r}")
    out = Path(options.out).absolute()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--out: {error}")
    outcomes = measured_before(out, options.quick) if options.only else {}
    failed: list[str] = []
    names = list(options.only or known)
    # Tiny sizes share a process, as their numbers mean nothing and starting takes longest.
    for group in [names] if options.quick else [[name] for name in names]:
        answers = _in_own_process([known[name] for name in group], Setting(out, options.quick))
        for name in group:
            if known[name] in answers:
                outcomes[name] = answers[known[name]]
            else:
                outcomes.pop(name, None)
                failed.append(name)
        in_order = {name: outcomes[name] for name in known if name in outcomes}
        write(out, in_order, failed, options.quick)  # after each: a stopped run leaves a table
    measured = [row for name in names if name in outcomes for row in outcomes[name]["rows"]]
    unequal = any(row["equal"] is False for row in measured)
    tell(f"\n{(out / 'benchmarks.md').read_text(encoding='utf-8')}")
    return int(bool(failed) or unequal)


def _in_own_process(functions: list[str], setting: Setting) -> dict[str, dict]:
    """What benchmarks gave, without those that failed: no state, memory or threads are shared."""
    with TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        command = [sys.executable, "-m", "tests.benchmarks.child", str(setting.out)]
        command += [str(int(setting.quick)), str(answer), *functions]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        subprocess.run(command, check=False, env={**os.environ, "PYTHONPATH": path})
        return json.loads(answer.read_text(encoding="utf-8")) if answer.is_file() else {}


if __name__ == "__main__":
    sys.exit(main())
