"""Run the benchmarks, each in a process of its own, and write the table.

Exit codes: 0 all ran, 1 one failed to run or results that should be equal are not, 2 bad
arguments. A missed target does not fail: it is in the table.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from tests.benchmarks.harness import Row, Setting, call, log, own_process
from tests.benchmarks.table import measured_before, write

BENCHMARKS: dict[str, str] = {
    "dsa": "tests.benchmarks.metrics:dsa_peer",
    "dsa-product": "tests.benchmarks.metrics:dsa_product",
    "dsa-large": "tests.benchmarks.metrics:dsa_large",
    "lsa": "tests.benchmarks.metrics:lsa_scipy",
    "nc": "tests.benchmarks.metrics:coverage",
    "six-metrics": "tests.benchmarks.metrics:six_metrics",
    "fgsm": "tests.benchmarks.attacks:fgsm_peers",
    "bim": "tests.benchmarks.attacks:bim_peers",
    "cw-short": "tests.benchmarks.attacks:cw_short",
    "apgd": "tests.benchmarks.strong:apgd_peer",
    "square": "tests.benchmarks.strong:square_peer",
    "ensemble": "tests.benchmarks.strong:ensemble_peer",
    "curve-digits": "tests.benchmarks.retraining:digits",
    "curve-mnist": "tests.benchmarks.retraining:mnist",
    "hardening": "tests.benchmarks.retraining:hardening",
    "study": "tests.benchmarks.retraining:study",
    "planning": "tests.benchmarks.runner:planning",
    "whole-run": "tests.benchmarks.runner:whole_run",
    "growth": "tests.benchmarks.growth:growth",
    "cw-long": "tests.benchmarks.attacks:cw_long",  # last: takes longest
}
"""Name -> the function that takes a `Setting` and gives rows and notes (texts)."""


class OneLineParser(argparse.ArgumentParser):
    """Reports what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"benchmarks: {message}; see --help\n")


def main(arguments: Sequence[str] | None = None, known: Mapping[str, str] = BENCHMARKS) -> int:
    """Parse, run, write; return the exit code."""
    parser = OneLineParser("python -m tests.benchmarks", description=__doc__, allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does all run?")
    only = f"measure these and keep the others' rows; of {', '.join(known)}"
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=list(known), help=only)
    parser.add_argument("--out", default="build/benchmarks", help="folder; default %(default)s")
    options = parser.parse_args(arguments)
    setting = Setting(Path(options.out).absolute(), options.quick)
    try:
        setting.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--out: {error}")
    outcomes = measured_before(setting) if options.only else {}
    names, failed = options.only or list(known), []
    # Tiny sizes share a process, as their numbers mean nothing and starting takes longest.
    for group in [names] if setting.quick else [[name] for name in names]:
        with own_process() as process:
            for name, answer in [(n, process.submit(call, known[n], setting)) for n in group]:
                try:
                    outcomes[name] = answer.result()
                except Exception:  # whatever it is: it is in the table, and the others go on
                    traceback.print_exc()
                    outcomes.pop(name, None)
                    failed.append(name)
                # After each, so that a run that is stopped leaves a table.
                write(setting, {n: outcomes[n] for n in known if n in outcomes}, failed)
    log(f"\n{(setting.out / 'benchmarks.md').read_text(encoding='utf-8')}")
    found = [row for name in names for row in outcomes.get(name, []) if isinstance(row, Row)]
    return int(bool(failed) or any(row.equal is False for row in found))


if __name__ == "__main__":
    sys.exit(main())
