#!/usr/bin/env python
"""Run the study: templates in notebooks/, executed for each data set, seed and configuration."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path

from utils import checks
from utils.attacks import ATTACKS
from utils.console import Console, closing_table, plan_table
from utils.datasets import DATASETS
from utils.freshness import status
from utils.metrics import METRICS
from utils.parameters import PRESETS, all_parameters, check, parse_settings, settings
from utils.pipeline import STEPS, plan, steps_named
from utils.reporting import links_between, write_index
from utils.retraining import CONFIGURATIONS
from utils.workspace import Workspace

OWN_OPTIONS = {
    "dataset": "--datasets", "datasets": "--datasets", "configuration": "--configurations",
    "configurations": "--configurations", "metrics": "--metrics", "attacks": "--attacks",
    "seed": "--seeds", "seeds": "--seeds", "workspace": "--workspace", "raw": "--raw",
}  # fmt: skip


def command_line() -> argparse.ArgumentParser:
    """The options; lists are separated by spaces."""
    parser = argparse.ArgumentParser(
        description="Which adversarial inputs to retrain on, and how: run the whole study.",
        epilog="Exit codes: 0 all done, 1 a job failed, 2 bad input, 130 stopped by Ctrl-C.",
    )
    add = parser.add_argument
    add("--datasets", nargs="+", default=["digits"], metavar="NAME", help="default: digits")
    add("--configurations", nargs="+", default=["1", "2", "3"], metavar="N", help="default: 1 2 3")
    add("--metrics", nargs="+", default=list(METRICS), metavar="ID", help="default: all six")
    add("--attacks", nargs="+", metavar="ID", help="default: fgsm bim cw, as in the study")
    add("--seeds", nargs="+", default=["0"], metavar="N", help="default: 0; each repeats the study")
    add("--preset", default="quick", metavar="NAME", help=f"{', '.join(PRESETS)}; default: quick")
    add(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        dest="settings",
        help="any parameter of a template, e.g. epsilon=0.1 points=20",
    )
    add(
        "--raw",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=PATH",
        help="images of a data set: a folder, an archive, an .npz file; else data/raw/NAME",
    )
    add(
        "--steps",
        nargs="+",
        default=[s.id for s in STEPS],
        metavar="N",
        help="0 to 5, or ids such as 5.2; default: all",
    )
    add(
        "--jobs",
        type=int,
        default=os.cpu_count(),
        metavar="N",
        help="notebooks that run at a time; default: one a core (%(default)s here)",
    )
    add(
        "--workspace",
        default="",
        metavar="FOLDER",
        help="where data/, models/ and reports/ go; default: the checkout",
    )
    add("--plan", action="store_true", help="say which jobs would run and why, and stop")
    add("--force", action="store_true", help="run jobs that are up to date too")
    add("--list", action="store_true", help="data sets, metrics, attacks, presets, parameters")
    return parser  # fmt: skip


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
            for p in all_parameters(s.path for s in STEPS).values() if p.name not in OWN_OPTIONS
        },
    }  # fmt: skip
    for title, entries in sections.items():
        print(f"\n{title}")
        for name, about in entries.items():
            print(f"  {name!s:<24} {about}")


def request(options: argparse.Namespace) -> tuple[list, list]:
    """Check what the user asked for; return every job of it, and those of the chosen steps."""
    known = all_parameters(step.path for step in STEPS)
    numbers = {
        name: checks.whole_numbers(name, values)
        for name, values in {
            "seeds": options.seeds,
            "configurations": options.configurations,
        }.items()
    }
    lists = {"datasets": options.datasets, "metrics": options.metrics, **numbers}
    if options.attacks:
        lists["attacks"] = options.attacks
    chosen = {name: check(name, values, list) for name, values in lists.items()}
    raw = checks.raw_files(options.raw, chosen["datasets"])
    checks.preset(options.preset)
    if options.jobs < 1:
        raise ValueError(f"--jobs: got {options.jobs}, expected at least 1")
    steps = steps_named(options.steps)
    workspace = Workspace(Path.cwd() / options.workspace if options.workspace else "")
    checks.writable(workspace)
    checks.names(chosen["datasets"], raw, workspace)
    given = parse_settings(options.settings, known, OWN_OPTIONS)
    given |= {name: chosen[name] for name in ("metrics", "attacks") if name in chosen}
    values = {
        name: settings(
            name, options.preset, {**given, **({"raw": raw[name]} if name in raw else {})}
        )
        for name in chosen["datasets"]
    }
    everything = plan(
        workspace, chosen["datasets"], chosen["seeds"], chosen["configurations"], values
    )
    jobs = [job for job in everything if job.step in steps]
    checks.inputs(jobs, download=not options.plan)
    return everything, jobs


def main() -> int:
    """Parse, plan, run, report."""
    options = command_line().parse_args()
    if options.list:
        show_list()
        return 0
    try:
        everything, jobs = request(options)
    except ValueError as error:
        print(f"run_all.py: {error}", file=sys.stderr)
        return 2
    states = plan_states(jobs, options.force)
    if options.plan:
        plan_table(jobs, states)
        return 0
    return run_jobs(everything, jobs, states, options)


def plan_states(jobs: list, force: bool) -> dict[str, str]:
    """For each job "up to date", or why it would run."""
    states: dict[str, str] = {}
    for job in jobs:
        now = status(job)
        first = next((n for n in job.needs if states.get(n, "up to date") != "up to date"), None)
        if force:
            states[job.name] = "--force"
        elif now.up_to_date and first:
            states[job.name] = f"if {first.rpartition('/')[2]} writes something new"
        else:
            states[job.name] = now.reason
    return states


def run_jobs(
    everything: list, jobs: list, states: dict[str, str], options: argparse.Namespace
) -> int:
    """Run what is not up to date, show how it goes, write the index; return the exit code."""
    begin = time.monotonic()
    workspace = jobs[0].workspace
    waiting = [job for job in jobs if states[job.name] != "up to date"]
    console = Console(jobs, states)
    code = 0
    if waiting:
        from utils.scheduling import run  # imports Dask, which an up-to-date run can do without

        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            outcomes = run(
                jobs, links_between(everything), options.jobs, options.force, console.show
            )
            code = int(any(o.state in ("failed", "not run") for o in outcomes.values()))
        except KeyboardInterrupt:
            console.close()
            print(
                "Stopped. Finished jobs and points are kept; the same command goes on from there."
            )
            write_index(workspace)
            return 130
    console.close()
    index = write_index(workspace)
    closing_table(workspace, jobs, time.monotonic() - begin, index)
    return code


if __name__ == "__main__":
    sys.exit(main())
