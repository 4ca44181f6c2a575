"""What is checked before any work starts, so that bad input costs one clear line and no time."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from utils.datasets import DATASETS, describe, is_at_hand, load_splits, read_raw, split
from utils.parameters import PRESETS, ParameterError, check, did_you_mean, template_parameters
from utils.pipeline import Job
from utils.workspace import Workspace


def whole_numbers(name: str, words: Iterable[str]) -> list[int]:
    """Numbers from the command line."""
    words = list(words)
    for word in words:
        if not re.fullmatch(r"-?\d+", word):
            raise ParameterError(f"{name}: got {word!r}, expected whole numbers")
    return [int(word) for word in words]


def raw_files(texts: Iterable[str], datasets: Iterable[str]) -> dict[str, str]:
    """``NAME=PATH`` texts as a mapping of names to absolute paths."""
    found = {}
    for text in texts:
        name, separator, path = text.partition("=")
        if not (separator and path):
            raise ParameterError(f"--raw {text}: expected NAME=PATH")
        if name not in datasets:
            raise ParameterError(
                f"--raw {name}: not among --datasets{did_you_mean(name, datasets)}"
            )
        found[name] = str(Path(path).expanduser().resolve())
    return found


def names(datasets: Iterable[str], raw: Mapping[str, str], workspace: Workspace) -> None:
    """Data sets must be known or brought by the user."""
    for name in datasets:
        if name not in DATASETS and not is_at_hand(name, raw.get(name, ""), workspace):
            known = ", ".join(DATASETS)
            raise ParameterError(
                f"--datasets: got {name!r}, expected one of {known}{did_you_mean(name, DATASETS)}; "
                f"bring your own with --raw {name}=PATH"
            )


def preset(name: str) -> None:
    """The preset must exist."""
    if name not in PRESETS:
        known = ", ".join(PRESETS)
        raise ParameterError(
            f"--preset: got {name!r}, expected one of {known}{did_you_mean(name, PRESETS)}"
        )


def writable(workspace: Workspace) -> None:
    """The workspace must be a folder that files can be written to."""
    root = workspace.root
    nearest = next(p for p in [root, *root.parents] if p.exists())
    if not nearest.is_dir():
        raise ParameterError(f"--workspace {root}: {nearest} is not a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ParameterError(
            f"--workspace {root}: {nearest} is not writable; choose another folder"
        )


def inputs(jobs: list[Job], download: bool = True) -> None:
    """Values in range, data readable and whole, enough inputs for the points.

    Raw images that are not there are downloaded, so that a missing connection is known at once;
    without `download` their data sets are not looked at.
    """
    for job in jobs:
        for name, parameter in template_parameters(job.step.path).items():
            if name in job.parameters:
                check(name, job.parameters[name], parameter.type)
    made = {pattern for job in jobs for pattern in job.outputs}
    for job in jobs:
        for pattern in job.inputs:
            if pattern not in made and not job.workspace.expand([pattern]):
                raise ParameterError(
                    f"step {job.step.id} of {job.dataset or 'all data sets'} needs {pattern} in "
                    f"{job.workspace.root}, which is not there; run the steps before it too"
                )
    for dataset in dict.fromkeys(job.dataset for job in jobs if job.dataset):
        _counts([job for job in jobs if job.dataset == dataset], download)


def _counts(jobs: list[Job], download: bool) -> None:
    """Enough images of one data set for what its jobs ask."""
    workspace, dataset = jobs[0].workspace, jobs[0].dataset
    first = next((job for job in jobs if job.step.id == "0.0"), None)
    if first:
        given = first.parameters
        if not (download or is_at_hand(dataset, given["raw"], workspace)):
            return
        raw = read_raw(dataset, given["raw"], workspace)
        options = {name: given[name] for name in ("shares", "n_images", "split_by", "split_seed")}
        sizes = split(dataset, raw, **options).sizes
    elif any(job.step.network for job in jobs):
        load_splits(dataset, workspace)
        sizes = describe(dataset, workspace)["n_images"]
    else:
        return
    for job in jobs:
        asked, most = job.parameters.get("n_adversarial", 0), min(sizes["train"], sizes["test"])
        if asked > most:
            raise ParameterError(
                f"n_adversarial: got {asked}, expected at most {most}, the smaller of the "
                f"{sizes['train']} training and {sizes['test']} test images of {dataset}"
            )
    n_adversarial = next(
        (j.parameters["n_adversarial"] for j in jobs if "n_adversarial" in j.parameters), 0
    )
    n_adversarial = n_adversarial or min(sizes["train"], sizes["test"])
    for job in jobs:
        if "points" in job.parameters:
            n = n_adversarial + (0 if job.parameters["configuration"] == 3 else sizes["train"])
            if job.parameters["points"] > n:
                raise ParameterError(
                    f"points: got {job.parameters['points']}, expected at most {n}, the retraining "
                    f"inputs of configuration {job.parameters['configuration']} on {dataset}"
                )
