"""The steps of a run: their templates, and the files that each reads and writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from utils.core.paths import TEMPLATES, Workspace


@dataclass(frozen=True)
class Step:
    """One template and how often it runs: once a "dataset", "seed", "configuration" or "run"."""

    id: str
    title: str
    template: str
    copy: str
    """Name of the executed copy; ``{d}`` and ``{c}`` are the data set and the configuration."""
    per: tuple[str, ...]
    network: bool
    """Whether a network runs, so that TensorFlow is imported."""

    @property
    def path(self) -> Path:
        return TEMPLATES / self.template


PREPROCESSING = Step(
    "0.0",
    "preprocessing",
    "0.0-preprocessing.ipynb",
    "0.0.1-{d}-preprocessing",
    ("dataset",),
    False,
)
TRAINING = Step(
    "0.1",
    "original model training",
    "0.1-original_model_training.ipynb",
    "0.1.1-{d}-original_model_training",
    ("dataset", "seed"),
    True,
)
ADVERSARIALS = Step(
    "1.1",
    "adversarial inputs",
    "1.1-obtaining_adversarials.ipynb",
    "1.1.1-{d}-obtaining_adversarials",
    ("dataset", "seed"),
    True,
)
SCORING = Step(
    "2.1",
    "guidance metrics",
    "2.1-obtaining_metrics.ipynb",
    "2.1.1-{d}-obtaining_metrics",
    ("dataset", "seed"),
    True,
)
RETRAINING = Step(
    "3-4.1",
    "ordering and retraining",
    "3-4.1-ordering_and_retraining.ipynb",
    "3-4.1.{c}-{d}-ordering_and_retraining-configuration_{c}",
    ("dataset", "seed", "configuration"),
    True,
)
FRESH_ATTACKS = Step(
    "4.2",
    "fresh attacks",
    "4.2-attacking_retrained.ipynb",
    "4.2.{c}-{d}-attacking_retrained-configuration_{c}",
    ("dataset", "seed", "configuration"),
    True,
)
PLOTS = Step(
    "5.1", "plots", "5.1-plot.ipynb", "5.1.{c}-{d}-plot-c{c}", ("dataset", "configuration"), False
)
COMPARISON = Step("5.2", "comparison", "5.2-comparison.ipynb", "5.2-comparison", (), False)
SENSITIVITY = Step("5.3", "sensitivity", "5.3-sensitivity.ipynb", "5.3-sensitivity", (), False)

VARIED = (PREPROCESSING, TRAINING, ADVERSARIALS, SCORING, RETRAINING)
"""The steps that the variants of a run repeat."""

STEPS = (*VARIED, FRESH_ATTACKS, PLOTS, COMPARISON, SENSITIVITY)
"""All steps, in the order in which they run."""


def steps_named(words: Iterable[str]) -> list[Step]:
    """The steps a user means by ``0``, ``3``, ``3-4`` or ``5.2``.

    Raises
    ------
    ValueError
        If a word names no step.
    """
    chosen = set()
    for word in words:
        found = []
        for step in STEPS:
            number = step.id.split(".")[0]
            if word in (step.id, number, *number.split("-")):
                found.append(step)
        if not found:
            known = ", ".join(f"{s.id} ({s.title})" for s in STEPS)
            raise ValueError(f"--steps: got {word!r}, expected numbers 0 to 5 or one of {known}")
        chosen.update(found)
    return [step for step in STEPS if step in chosen]


class Files(NamedTuple):
    """What a step reads and writes, as patterns from the workspace's root."""

    reads: tuple[str, ...]
    """Each matches at least one file when the step begins."""
    writes: tuple[str, ...]
    """Each matches at least one file when it is done."""
    reads_too: tuple[str, ...] = ()
    """Files that it reads if they exist."""
    unfinished: tuple[str, ...] = ()
    """Files that keep what a stopped job had finished."""


def files(step: Step, w: Workspace, p: Mapping[str, Any], joins: bool = False) -> Files:
    """The files of a step with some parameters: nothing else lists them.

    A retraining job `joins` curves that others made, makes a part of them for that, or is alone.
    The user's raw images and network are no files of a step.
    """
    d, seed, c = p.get("dataset", ""), p.get("seed", 0), p.get("configuration", 0)
    part, metrics = p.get("part", ""), p.get("metrics", [])
    runs = [
        (dataset, run, configuration)
        for dataset in p.get("datasets", [d])
        for configuration in p.get("configurations", [c])
        for run in p.get("seeds", [seed])
    ]
    images = [w.data(d) / "*.npy", w.data(d) / "dataset.json"]
    model, quality = [w.original_model(d, seed)], [w.original_accuracy(d, seed)]
    history = [] if p.get("own_model") else [w.models(d, seed) / "history.csv"]
    adversarial = [w.adversarial(d, seed) / "*.npy"]
    scores = [w.metrics(d, seed) / f"{m}.npy" for m in metrics]
    curves = [w.curve(d, seed, c, m) for m in metrics]
    keeps = p.get("keep_models", "none") != "none"
    kept = [w.models(d, seed) / f"c{c}_{m}_p*.keras" for m in metrics if keeps]
    tables = [w.results(*run, part) for run in runs]
    about = [table.with_suffix(".json") for table in tables]
    varied = [w.variant(v).results(*run) for v in p.get("variants", []) for run in runs]
    fresh = [w.fresh_attack(*run) for run in runs]
    attacked = [w.models(d, seed) / f"c{c}_*_p*.keras"]
    attack_figure = [w.figures(d, seed) / f"{d}_c{c}_{n}.*" for n in ("fresh_attack", "budgets")]
    plots = [w.reports(d) / f"{d}_c{c}_summary.csv", w.figures(d) / f"{d}_c{c}_*"]
    texts = [w.reports() / "comparison.csv", w.reports() / "recommendation.json"]
    compared = [*texts, w.figures() / "comparison_*"]
    sensitivity = [w.reports() / "sensitivity.csv", w.figures() / "sensitivity_*"]
    made, scored = w.adversarial(d, seed) / "attacks.csv", w.metrics(d, seed) / "metrics.csv"
    read = images + model + quality + [*adversarial, made, *scores, scored]
    lists: dict[Step, tuple[list[Path], ...]] = {
        PREPROCESSING: ([], images),
        TRAINING: (images, model + quality + history),
        ADVERSARIALS: (images + model, [*adversarial, made]),
        SCORING: (images + model + adversarial, [*scores, scored]),
        RETRAINING: (read + curves + kept, tables + about)
        if joins
        else (read, tables + about + kept + (curves if part else []), [], curves),
        FRESH_ATTACKS: (images + model + adversarial + tables + attacked, fresh + attack_figure),
        PLOTS: (tables, plots),
        COMPARISON: (tables, compared, fresh),
        SENSITIVITY: (tables + varied, sensitivity),
    }
    return Files(*(tuple(map(w.relative, paths)) for paths in lists[step]))


def makers(step: Step) -> list[Step]:
    """The steps that make what a step reads, and what those read, in the order of `STEPS`."""
    of = {s: files(s, Workspace(), {"metrics": ["m"], "keep_models": "best"}) for s in STEPS}
    needed = {*of[step].reads, *of[step].reads_too}
    found = []
    for earlier in reversed(STEPS[: STEPS.index(step)]):
        if needed & {*of[earlier].writes}:
            needed |= {*of[earlier].reads}
            found.append(earlier)
    return found[::-1]
