#!/usr/bin/env python
"""Run the study: templates in notebooks/, executed for each data set, seed and configuration."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
import time
from typing import NoReturn

if __name__ == "__main__":  # Ctrl-C while the modules below load: there is nothing to stop yet
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # with Python's option -P, too
    from utils.runner.environment import start_over

    start_over()

from utils.attacks.registry import ATTACKS
from utils.core.paths import Workspace
from utils.core.text import readable
from utils.data.registry import DATASETS
from utils.machine.provenance import usable_cpus
from utils.metrics.registry import METRICS
from utils.plan import requests
from utils.plan.freshness import UP_TO_DATE, states_of, verified
from utils.plan.jobs import plan
from utils.plan.parameters import (
    PRESETS,
    all_parameters,
    check,
    did_you_mean,
    parse_settings,
    parse_variants,
    settings,
)
from utils.plan.steps import STEPS, VARIED, steps_named
from utils.reports.console import Console, closing_table, plan_table
from utils.reports.index import write_index
from utils.reports.pages import links_between
from utils.retraining.configurations import CONFIGURATIONS
from utils.runner.dask_defaults import use_defaults
from utils.runner.lock import Lock, Locked

OWN_OPTIONS = {
    "dataset": "--datasets", "datasets": "--datasets", "configuration": "--configurations",
    "configurations": "--configurations", "metrics": "--metrics", "attacks": "--attacks",
    "seed": "--seeds", "seeds": "--seeds", "workspace": "--workspace", "raw": "--raw",
    "own_model": "--model", "part": "--split-metrics", "variants": "--vary",
}  # fmt: skip


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the whole usage before it."""

    def error(self, message: str) -> NoReturn:
        """Print the line and exit with code 2."""
        words = message.removeprefix("unrecognized arguments: ").split()
        guess = did_you_mean(words[0], self._option_string_actions) if words else ""
        self.exit(2, f"run_all.py: {readable(message + guess)}; see --help\n")


def command_line() -> argparse.ArgumentParser:
    """The options; lists are separated by spaces."""
    parser = OneLineParser(
        description="Which adversarial inputs to retrain on, and how: run the whole study.",
        epilog="Exit codes: 0 all done, 1 a job failed, 2 bad input, 130 stopped by Ctrl-C.",
        allow_abbrev=False,
    )

    def many(name: str, metavar: str, default: list[str] | None, about: str) -> None:
        parser.add_argument(name, nargs="+", metavar=metavar, default=default, help=about)

    def more(name: str, metavar: str, about: str) -> None:
        options = {"nargs": "+", "action": "extend", "default": []}
        parser.add_argument(name, metavar=metavar, help=about, **options)

    def one(name: str, metavar: str, default: str, about: str) -> None:
        parser.add_argument(name, metavar=metavar, default=default, help=about)

    def flag(name: str, about: str) -> None:
        parser.add_argument(name, action="store_true", help=about)

    many("--datasets", "NAME", ["digits"], "default: digits")
    many("--configurations", "N", ["1", "2", "3"], "default: 1 2 3")
    many("--metrics", "ID", list(METRICS), "default: all six")
    many("--attacks", "ID", None, "default: fgsm bim cw")
    many("--seeds", "N", ["0"], "default: 0; each repeats the study")
    one("--preset", "NAME", "quick", f"{', '.join(PRESETS)}; default: quick")
    more("--set", "NAME=VALUE", "any parameter of a template, e.g. epsilon=0.1 points=20")
    more("--vary", "NAME=V1,V2", "once more with each value, one at a time; 5.3 compares")
    more("--raw", "NAME=PATH", "images of a data set: folder, archive or .npz; else data/raw/NAME")
    more("--model", "NAME=PATH", "a trained network (.keras, .h5) to use; else one is trained")
    many("--steps", "N", [s.id for s in STEPS], "0 to 5, or ids such as 5.2; default: all")
    here = f"default: cores / threads, {usable_cpus()} / 1 here"
    one("--jobs", "N", "", f"notebooks at a time; {here}")
    one(
        "--scheduler", "ADDRESS", "", "of a Dask cluster that runs the notebooks, e.g. tcp://h:8786"
    )
    one("--gpus-per-job", "N", "0", "GPUs that a notebook with a network has to itself; default: 0")
    flag("--split-metrics", "retrain each metric in a notebook of its own, for many workers")
    one("--workspace", "FOLDER", "", "where data/, models/, reports/ go; default: the checkout")
    flag("--plan", "say which jobs would run and why, and stop")
    flag("--force", "run jobs that are up to date too")
    flag("--trust-existing", "run only jobs whose files are missing, however others were made")
    flag("--list", "data sets, metrics, attacks, presets, parameters")
    return parser


def show_list() -> None:
    """A line for each thing that can be named on the command line."""
    sections = {
        "Data sets (--datasets), and your own with --raw": {
            e.id: e.title for e in DATASETS.values()
        },
        "Guidance metrics (--metrics)": {
            e.id: f"{e.name}; {e.reference}" for e in METRICS.values()
        },
        "Attacks (--attacks)": {e.id: f"{e.name}; {e.reference}" for e in ATTACKS.values()},
        "Configurations (--configurations)": CONFIGURATIONS,
        "Presets (--preset)": {name: about for name, (about, _) in PRESETS.items()},
        "Parameters (--set)": {
            p.name: f"{p.help} (default {p.default!r})"
            for p in all_parameters(s.path for s in STEPS).values()
            if p.name not in OWN_OPTIONS
        },
    }
    for title, entries in sections.items():
        print(f"\n{title}")
        for name, about in entries.items():
            print(f"  {name!s:<24} {about}")


def request(options: argparse.Namespace) -> tuple[list, list, list[str]]:
    """Check what the user asked for.

    Return every job of it, those of the chosen steps, and what the images were taken for, in lines.
    """
    known = all_parameters(step.path for step in STEPS)
    numbers = {
        name: requests.whole_numbers(name, values)
        for name, values in {
            "seeds": options.seeds,
            "configurations": options.configurations,
        }.items()
    }
    lists = {"datasets": options.datasets, "metrics": options.metrics, **numbers}
    if options.attacks:
        lists["attacks"] = options.attacks
    chosen = {name: check(name, values, list) for name, values in lists.items()}
    raw = requests.paths_of("--raw", options.raw, chosen["datasets"])
    models = requests.paths_of("--model", options.model, chosen["datasets"], unnamed=True)
    requests.preset(options.preset)
    requests.number("--jobs", options.jobs or "1", 1, 1024)
    requests.number("--gpus-per-job", options.gpus_per_job, 0, 64)
    if options.scheduler and options.jobs:
        raise ValueError("--jobs: is for this machine; the workers of --scheduler have their own")
    steps = steps_named(options.steps)
    place = requests.path_of("--workspace", options.workspace) if options.workspace else ""
    workspace = Workspace(place)
    requests.writable(workspace)
    requests.names(chosen["datasets"], raw, workspace)
    given = parse_settings(options.set, known, OWN_OPTIONS)
    given |= {name: chosen[name] for name in ("metrics", "attacks") if name in chosen}
    paths = {"raw": raw, "own_model": models}

    def values(changed: dict) -> dict[str, dict]:
        own = {d: {p: of[d] for p, of in paths.items() if d in of} for d in chosen["datasets"]}
        return {d: settings(d, options.preset, given | own[d] | changed) for d in own}

    varied = all_parameters(step.path for step in VARIED)
    variants = parse_variants(options.vary, varied, OWN_OPTIONS)
    everything = plan(
        workspace,
        chosen["datasets"],
        chosen["seeds"],
        chosen["configurations"],
        values({}),
        options.split_metrics,
        {name: values(changed) for name, changed in variants.items()},
    )
    jobs = [job for job in everything if job.step in steps]
    lines = requests.inputs(everything, jobs, rule_of(options), thorough=not options.plan)
    return everything, jobs, lines


def rule_of(options: argparse.Namespace) -> str:
    """Which jobs count as up to date; see `utils.plan.freshness.status`."""
    return "force" if options.force else "trust" if options.trust_existing else "content"


def main() -> int:
    """Parse, plan, run, report."""
    parser = command_line()
    options = parser.parse_args()
    if options.force and options.trust_existing:
        parser.error("--force and --trust-existing contradict each other")
    if options.list:
        show_list()
        return 0
    try:
        everything, jobs, lines = request(options)
    except ValueError as error:
        return refuse(error)
    if options.scheduler and not options.plan:
        use_defaults()
        from utils.runner.cluster import ClusterError, reach

        try:
            reach(options.scheduler)
        except ClusterError as error:
            return refuse(error)
    for line in lines:  # they may come with a stranger's workspace
        print(readable(line, 2000), flush=True)
    if options.plan:
        plan_table(jobs, states_of(jobs, rule_of(options)))
        return 0
    try:
        with Lock(jobs[0].home) as lock:
            return run_jobs(everything, jobs, lock, options)
    except Locked as error:
        return refuse(error)


def refuse(error: Exception, code: int = 2) -> int:
    """Say in one line why the run can't be, or go on; return the exit code."""
    print(f"run_all.py: {readable(error, 2000)}", file=sys.stderr)
    return code


def run_jobs(everything: list, jobs: list, lock: Lock, options: argparse.Namespace) -> int:
    """Run what is not up to date, show how it goes, write the index; return the exit code."""
    begin = time.monotonic()
    rule = rule_of(options)
    states = states_of(jobs, rule)
    if any(state != UP_TO_DATE for state in states.values()):
        states = verified(jobs, states, rule)
    console = Console(jobs, states)
    code = 0
    waiting = [job for job in jobs if states[job.name] != UP_TO_DATE]
    if waiting:
        use_defaults()
        from utils.runner.cluster import ClusterError, ClusterLost
        from utils.runner.scheduling import (
            run,  # imports Dask, which an up-to-date run can do without
        )

        shown = [job for job in everything if job in jobs or job.file(".html").exists()]
        try:
            outcomes = run(
                waiting,
                links_between(shown),
                lock,
                cluster(waiting, options),
                rule,
                console.show,
                console.say,
            )
            code = int(not all(outcome.fine for outcome in outcomes.values()))
        except ClusterError as error:
            console.close()
            if isinstance(error, ClusterLost):
                write_index(lock.workspace)
            return refuse(error, error.code)
        except KeyboardInterrupt:
            write_index(lock.workspace)
            raise
        finally:
            console.close()
    index = write_index(lock.workspace)
    closing_table(lock.workspace, jobs, time.monotonic() - begin, index)
    return code


def cluster(jobs: list, options: argparse.Namespace) -> object:
    """Where the jobs run."""
    from utils.runner.cluster import Cluster

    threads = max(job.parameters.get("threads", 1) for job in jobs)
    n_jobs = int(options.jobs or max(1, usable_cpus() // threads))
    return Cluster(n_jobs, options.scheduler, int(options.gpus_per_job))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    try:
        code = main()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is said and done
        sys.exit(code)
    except KeyboardInterrupt:
        print("\nStopped. What is finished is kept; the same command goes on from there.")
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output has gone, as in `--list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(
            f"run_all.py: {error.filename or 'the workspace'}: no room left on the disk; make "
            "some, then the same command goes on from there",
            file=sys.stderr,
        )
        sys.exit(1)
