"""The command line: its options, what can be named there, and the jobs that are asked for."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any, NoReturn

from utils.attacks.registry import ATTACKS
from utils.core.paths import Workspace
from utils.core.text import readable
from utils.data.registry import DATASETS
from utils.machine.provenance import usable_cpus
from utils.metrics.registry import METRICS
from utils.plan import arguments, requests
from utils.plan.jobs import plan
from utils.plan.parameters import PRESETS, all_parameters, parse_settings, parse_variants, settings
from utils.plan.rules import check, did_you_mean
from utils.plan.steps import STEPS, VARIED, steps_named
from utils.retraining.configurations import CONFIGURATIONS

OWN_OPTIONS = {
    "dataset": "--datasets", "datasets": "--datasets", "configuration": "--configurations",
    "configurations": "--configurations", "metrics": "--metrics", "attacks": "--attacks",
    "seed": "--seeds", "seeds": "--seeds", "workspace": "--workspace", "raw": "--raw",
    "own_model": "--model", "part": "--split-metrics", "variants": "--vary",
}  # fmt: skip


class OneLineParser(argparse.ArgumentParser):
    """Reports what is wrong in one line, without the whole usage before it."""

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
        parser.add_argument(
            name, metavar=metavar, help=about, nargs="+", action="extend", default=[]
        )

    def one(name: str, metavar: str, default: str, about: str) -> None:
        parser.add_argument(name, metavar=metavar, default=default, help=about)

    def flag(name: str, about: str) -> None:
        parser.add_argument(name, action="store_true", help=about)

    many("--datasets", "NAME", ["digits"], "default: digits")
    many("--configurations", "N", ["1", "2", "3", "4"], "default: 1 2 3 4")
    many("--metrics", "ID", list(METRICS), "default: all seven")
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
    flag("--plan", "show which jobs would run and why, and stop")
    flag("--force", "run jobs that are up to date too")
    flag("--trust-existing", "run only jobs whose files are missing, however others were made")
    flag("--list", "data sets, metrics, attacks, presets, parameters")
    return parser


def show_list() -> None:
    """A line for each thing that can be named on the command line."""
    sections: dict[str, Mapping[Any, str]] = {
        "Data sets (--datasets), and your own with --raw": {
            e.id: e.title for e in DATASETS.values()
        },
        "Guidance metrics (--metrics)": {
            e.id: f"{e.name}; {e.reference}" for e in METRICS.values()
        },
        "Attacks (--attacks)": {e.id: f"{e.name}; {e.reference}" for e in ATTACKS.values()},
        "Configurations (--configurations)": {
            c.id: f"{c.name}; {c.source}" for c in CONFIGURATIONS.values()
        },
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
        name: arguments.whole_numbers(name, values)
        for name, values in {
            "seeds": options.seeds,
            "configurations": options.configurations,
        }.items()
    }
    lists = {"datasets": options.datasets, "metrics": options.metrics, **numbers}
    if options.attacks:
        lists["attacks"] = options.attacks
    chosen = {name: check(name, values, list) for name, values in lists.items()}
    raw = arguments.paths_of("--raw", options.raw, chosen["datasets"])
    models = arguments.paths_of("--model", options.model, chosen["datasets"], unnamed=True)
    arguments.preset(options.preset)
    arguments.number("--jobs", options.jobs or "1", 1, 1024)
    arguments.number("--gpus-per-job", options.gpus_per_job, 0, 64)
    if options.scheduler and options.jobs:
        raise ValueError("--jobs: is for this machine; the workers of --scheduler have their own")
    steps = steps_named(options.steps)
    root = arguments.path_of("--workspace", options.workspace) if options.workspace else ""
    workspace = Workspace(root)
    arguments.writable(workspace)
    arguments.names(chosen["datasets"], raw, workspace)
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
