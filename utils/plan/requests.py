"""What is checked before any work starts, so that bad input costs one clear line and no time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from utils.data.arrays import describe, load_splits
from utils.data.class_order import orders_of
from utils.data.raw.base import Raw, Shape
from utils.data.raw.images import RESIZES
from utils.data.registry import DATASETS, image_shape, is_local, read_raw, split
from utils.data.splitting import Plan, understood
from utils.plan.freshness import AS_VARIED, UNCHANGED, UP_TO_DATE, status
from utils.plan.jobs import Job
from utils.plan.parameters import template_parameters
from utils.plan.rules import ParameterError, check
from utils.plan.steps import ADVERSARIALS, PREPROCESSING, SCORING, TRAINING
from utils.retraining.configurations import configuration_of

if TYPE_CHECKING:
    import keras


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


UNSEEN = (
    "accuracies hold only if your network was not trained on these validation and test images; "
    "folders train/, val/ and test/ (or the same names in an .npz) say which those are"
)


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
        if not (thorough or is_local(dataset, given["raw"], workspace)):
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
    if any(job.parameters.get("own_model") for job in jobs):
        lines = [*lines, f"{dataset}: {UNSEEN}"]
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
            parts = {"train": sizes["train"], "adv_train": n_adversarial}
            n = configuration_of(configuration).n_ordered(parts)
            if job.parameters["points"] > n:
                raise ParameterError(
                    f"points: got {job.parameters['points']}, expected at most {n}, the inputs "
                    f"that are ordered in configuration {configuration} on {dataset}"
                )
    return lines


Listed = tuple[Raw, Plan, Shape]


def _listed(job: Job) -> Listed:
    """What step 0.0 will find: raw images, their split, the shape they get."""
    given, dataset = job.parameters, job.dataset
    about = {n: given[n] for n in ("class_order", "leave_out", "label_column", "white")}
    raw = read_raw(dataset, given["raw"], job.workspace, **about)
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
            there = thorough and is_local(first.dataset, first.parameters["raw"], first.workspace)
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
    from utils.networks.trials import fitted, try_conventions

    path = str(given["own_model"])
    if found is None:
        return read_own_model(path, shape, n_classes)
    raw, plan, shape = found
    images, labels = _raw_sample(raw, plan, shape, resize)
    model = read_own_model(path, shape, n_classes, images=images[resize])
    if not given["accept_weak"]:
        orders = orders_of(raw.class_folders, n_classes)
        ways = str(given["pixel_range"]), str(given["color_order"])
        trial = try_conventions(model, images, labels, orders, *ways)
        fitted(model, trial, raw.class_folders)
    return model


def _raw_sample(
    raw: Raw, plan: Plan, shape: Shape, resize: str
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The training images that step 0.1 will try, and their labels, for `try_conventions`.

    By the way of resizing, the present one first; those that give the same images are left out.
    ValueError if none of the images can be decoded.
    """
    from utils.networks.trials import sample_of

    positions = plan.train[sample_of(len(plan.train))]
    images, broken = raw.read(positions, shape, len(positions), resize=resize)
    whole = np.setdiff1d(np.arange(len(positions)), list(broken))
    if not whole.size:
        raise ValueError(f"raw images {raw.source}: none of {len(positions)} can be decoded")
    versions = {resize: images[whole]}
    for other in RESIZES:
        again = raw.read(positions[whole], shape, len(whole), resize=other)[0]
        if not any(np.array_equal(again, known) for known in versions.values()):
            versions[other] = again
    return versions, raw.labels[positions[whole]]
