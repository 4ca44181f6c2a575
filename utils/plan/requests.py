"""What is checked before any work starts, so that bad input costs one clear line and no time."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.core.paths import Workspace
from utils.data.arrays import describe, load_splits
from utils.data.raw.base import Raw, Shape
from utils.data.registry import DATASETS, image_shape, is_at_hand, read_raw, split
from utils.data.splitting import Plan, understood
from utils.plan.freshness import AS_VARIED, UNCHANGED, UP_TO_DATE, status
from utils.plan.jobs import Job
from utils.plan.parameters import (
    PRESETS,
    ParameterError,
    check,
    did_you_mean,
    is_text,
    template_parameters,
)
from utils.plan.steps import ADVERSARIALS, PREPROCESSING, SCORING, TRAINING
from utils.retraining.configurations import n_retraining_inputs

if TYPE_CHECKING:
    import keras


def whole_numbers(name: str, words: Iterable[str]) -> list[int]:
    """Numbers from the command line."""
    words = list(words)
    for word in words:
        if not re.fullmatch(r"-?[0-9]{1,18}", word):
            raise ParameterError(f"{name}: got {word!r}, expected whole numbers")
    return [int(word) for word in words]


def number(name: str, word: str, low: int, high: int) -> int:
    """One whole number from the command line."""
    (value,) = whole_numbers(name, [word])
    if not low <= value <= high:
        raise ParameterError(f"{name}: got {value}, expected {low} to {high}")
    return value


def paths_of(
    option: str, texts: Iterable[str], datasets: list[str], unnamed: bool = False
) -> dict[str, str]:
    """``NAME=PATH`` texts as a mapping of names to absolute paths.

    With `unnamed`, a path alone will do where there is only one data set. A path with a "=" in it
    is one if there is such a file, and what stands before the "=" is no data set.
    """
    found = {}
    for text in texts:
        name, separator, path = text.partition("=")
        if unnamed and len(datasets) == 1:
            is_file = separator and _is_file(text)
            if is_file and name in datasets:
                raise ParameterError(
                    f"{option} {text}: is the name of a file, and means {path} for {name}, too; "
                    f"write {option} {name}=./{text} or {option} {name}=./{path}"
                )
            if is_file or not separator:
                name, separator, path = datasets[0], "=", text
        if not (separator and path):
            raise ParameterError(f"{option} {text}: expected NAME=PATH")
        if name not in datasets:
            raise ParameterError(
                f"{option} {name}: not among --datasets, which are {' '.join(datasets)}"
                f"{did_you_mean(name, datasets) or '; add it there'}"
            )
        if name in found:
            raise ParameterError(f"{option} {name}: given twice")
        found[name] = str(path_of(f"{option} {name}", path))
    return found


def _is_file(text: str) -> bool:
    """Whether a text from the command line is the path of a file."""
    try:
        return Path(text).expanduser().is_file()
    except (OSError, RuntimeError, ValueError):  # see `path_of`
        return False


def path_of(option: str, text: str) -> Path:
    """An absolute path from the command line, which need not exist."""
    try:
        path = Path(text).expanduser().resolve()
        path.exists()  # or its name is too long, or a folder above it may not be read
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: no such user, or a loop
        reason = getattr(error, "strerror", None) or error
        raise ParameterError(f"{option}: got {text!r}, expected a path ({reason})") from None
    if not is_text(str(path)):
        raise ParameterError(f"{option}: got {str(path)!r}, which is no UTF-8 text; rename it")
    return path


def names(datasets: Iterable[str], raw: Mapping[str, str], workspace: Workspace) -> None:
    """Data sets must be known or brought by the user."""
    for name in datasets:
        made = (workspace.data(name) / "dataset.json").exists()
        if not (name in DATASETS or made or is_at_hand(name, raw.get(name, ""), workspace)):
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
    """The workspace must be a folder that can be written to; the trial leaves nothing behind."""
    if workspace.base:
        raise ParameterError(
            f"--workspace {workspace.root}: is for a variant of the run in {workspace.base.root}; "
            "use that with --vary, or choose another folder"
        )
    made = []
    try:
        for folder in (
            workspace.root,
            *(workspace.root / n for n in ("data", "models", "reports")),
        ):
            made += [p for p in [folder, *folder.parents] if not p.exists()]
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
    except OSError as error:
        raise ParameterError(
            f"--workspace {workspace.root}: cannot write there ({error.strerror}); "
            "choose another folder"
        ) from None
    finally:
        for folder in sorted(made, reverse=True):  # the deepest first
            with suppress(OSError):
                folder.rmdir()


def inputs(everything: list[Job], jobs: list[Job], rule: str, thorough: bool = True) -> list[str]:
    """Values in range, data readable and whole, enough inputs for the points.

    Parameters
    ----------
    everything : list of Job
        All jobs of the request, whatever the steps.
    jobs : list of Job
        Those of the steps asked for.
    rule : {"content", "force", "trust"}
        See `utils.plan.freshness.status`.
    thorough : bool, default=True
        Download raw images that are not there, so that a missing connection is known at once (else
        their data sets are not looked at), and read files that may be damaged.

    Returns
    -------
    list of str
        What the images were taken for, in lines for the terminal.
    """
    if not jobs:
        raise ParameterError(
            "--steps: 4.2 attacks the retrained networks that were kept, and keep_models is none; "
            "take best or all"
        )
    for job in jobs:
        for name, parameter in template_parameters(job.step.path).items():
            if name in job.parameters:
                check(name, job.parameters[name], parameter.type)
    chosen = {job.name for job in jobs}
    needed = {name for job in jobs for name in job.needs} - chosen
    needed_rule = "trust" if rule == "trust" else "content"
    for job in everything:
        if job.name in needed and not (now := status(job, needed_rule, thorough)).up_to_date:
            raise ParameterError(
                f"--steps: {job.name} is needed but not up to date ({now.reason}); "
                f"add {job.step.id} to --steps, or use --trust-existing"
            )
    lines: list[str] = []
    for root, dataset in dict.fromkeys((j.workspace.root, j.dataset) for j in jobs if j.dataset):
        own, planned = (
            [job for job in which if (job.workspace.root, job.dataset) == (root, dataset)]
            for which in (jobs, everything)
        )
        lines += _dataset(own, planned, rule, thorough)
    return list(dict.fromkeys(lines))


def _dataset(jobs: list[Job], planned: list[Job], rule: str, thorough: bool) -> list[str]:
    """Of one data set: enough images for what its jobs ask, and a model that fits them.

    `planned` are the jobs of all steps, `jobs` those of the steps asked for. Returns what the
    images were taken for, in lines for the terminal.
    """
    workspace, dataset = jobs[0].workspace, jobs[0].dataset
    first = next((job for job in jobs if job.step == PREPROCESSING), None)
    now = status(first, rule).reason if first else UP_TO_DATE
    found = None
    if first and now not in UNCHANGED:
        given = first.parameters
        if not (thorough or is_at_hand(dataset, given["raw"], workspace)):
            return []
        found = _listed(first)
        raw, split_up, shape = found
        if dataset not in DATASETS:  # of the others it is known what they are
            raw.check_labels()
        sizes, n_classes = split_up.sizes, len(raw.class_names)
        lines = understood(dataset, raw, split_up)
    elif any(job.step.network for job in jobs):
        workspace = jobs[0].home if now == AS_VARIED else workspace
        if rule == "trust":  # else they are known to be as step 0.0 wrote them
            load_splits(dataset, workspace)
        about = describe(dataset, workspace)
        sizes, shape, n_classes = about["n_images"], about["image_shape"], len(about["class_names"])
        lines = about.get("understood", [])
    else:
        workspace = jobs[0].home if now == AS_VARIED else workspace
        return describe(dataset, workspace).get("understood", []) if first else []
    _network(jobs, planned, rule, shape, n_classes, thorough, found)
    most = min(sizes["train"], sizes["test"])
    attack = next((job.parameters for job in jobs if job.step == ADVERSARIALS), None)
    n_adversarial = (attack or {}).get("n_adversarial") or most
    if attack:
        least = len(attack["attacks"])
        if sizes["val"] < least:
            raise ParameterError(
                f"attacks: got {least}, but {dataset} has {sizes['val']} validation images, and "
                "each attack needs one; take more n_images or larger shares"
            )
        if most < least:
            raise ParameterError(
                f"attacks: got {least}, but {dataset} has {most} test images, and each attack "
                "needs one; take more n_images or larger shares"
            )
        if not least <= n_adversarial <= most:
            raise ParameterError(
                f"n_adversarial: got {n_adversarial}, expected {least} (one for each attack) to "
                f"{most}, the smaller of the {sizes['train']} training and {sizes['test']} test "
                f"images of {dataset}"
            )
    for job in jobs:
        if "points" in job.parameters:
            configuration = job.parameters["configuration"]
            n = n_retraining_inputs(configuration, sizes["train"], n_adversarial)
            if job.parameters["points"] > n:
                raise ParameterError(
                    f"points: got {job.parameters['points']}, expected at most {n}, the retraining "
                    f"inputs of configuration {configuration} on {dataset}"
                )
    return lines


Listed = tuple[Raw, Plan, Shape]


def _listed(job: Job) -> Listed:
    """What step 0.0 will find: raw images, their split, the shape they get."""
    given, dataset = job.parameters, job.dataset
    said = {n: given[n] for n in ("class_order", "leave_out", "label_column", "white")}
    raw = read_raw(dataset, given["raw"], job.workspace, **said)
    options = {name: given[name] for name in ("shares", "n_images", "split_by", "split_seed")}
    shape = image_shape(dataset, raw, given["image_size"], given["color"])
    return raw, split(dataset, raw, **options), shape


def _network(
    jobs: list[Job],
    planned: list[Job],
    rule: str,
    shape: Sequence[int],
    n_classes: int,
    thorough: bool,
    found: Listed | None,
) -> None:
    """A model of the user's own must fit, and a layer that is named must be there.

    That one can be traced without a name is asked of a model only if a step does so. If `thorough`,
    it is tried whether it expects images resized otherwise, or classes in another order, while raw
    images are there (`found`, if they have been listed). TensorFlow is started for it only if it
    will be used.
    """
    steps = [job for job in jobs if job.step in (PREPROCESSING, TRAINING, SCORING)]
    given = {job.step: job.parameters for job in planned}
    path = given.get(TRAINING, {}).get("own_model", "")
    layer = given.get(SCORING, {}).get("layer", "")
    if not (path or layer) or all(status(job, rule).reason in UNCHANGED for job in steps):
        return
    from utils.networks import architectures, runtime
    from utils.networks.activations import traced

    runtime.start()
    try:
        if path:
            first = next(job for job in planned if job.step == PREPROCESSING)
            there = thorough and is_at_hand(first.dataset, first.parameters["raw"], first.workspace)
            found = (found or _listed(first)) if there else None
            resize = str(first.parameters["resize"])
            model = _own_model(given[TRAINING], shape, n_classes, resize, found)
        else:
            plan = architectures.architecture_for(jobs[0].dataset, shape, n_classes)
            model = architectures.build(plan, shape, n_classes)
        if layer or any(job.step == SCORING for job in jobs):
            traced(model, layer)
    except FileNotFoundError as error:
        raise ParameterError(str(error)) from None


def _own_model(
    given: Mapping[str, Any],
    shape: Sequence[int],
    n_classes: int,
    resize: str,
    found: Listed | None,
) -> keras.Model:
    """Read a model of the user's own; with raw images, tried on what step 0.0 will make of them."""
    from utils.networks.own import read_own_model
    from utils.networks.trials import fitted, orders_of, raw_sample, try_conventions

    path = str(given["own_model"])
    if found is None:
        return read_own_model(path, shape, n_classes)
    raw, plan, shape = found
    images, labels = raw_sample(raw, plan, shape, resize)
    model = read_own_model(path, shape, n_classes, images=images[resize])
    if not given["accept_weak"]:
        orders = orders_of(raw.class_folders, n_classes)
        ways = str(given["pixel_range"]), str(given["color_order"])
        trial = try_conventions(model, images, labels, orders, *ways)
        fitted(model, trial, raw.class_folders)
    return model
