"""Which jobs a request means, and what each reads and writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from utils.core.paths import TEMPLATES, Workspace
from utils.plan.parameters import template_parameters


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


STEPS: tuple[Step, ...] = (
    Step("0.0", "preprocessing", "0.0-preprocessing.ipynb",
         "0.0.1-{d}-preprocessing", ("dataset",), False),
    Step("0.1", "original model training", "0.1-original_model_training.ipynb",
         "0.1.1-{d}-original_model_training", ("dataset", "seed"), True),
    Step("1.1", "adversarial inputs", "1.1-obtaining_adversarials.ipynb",
         "1.1.1-{d}-obtaining_adversarials", ("dataset", "seed"), True),
    Step("2.1", "guidance metrics", "2.1-obtaining_metrics.ipynb",
         "2.1.1-{d}-obtaining_metrics", ("dataset", "seed"), True),
    Step("3-4.1", "ordering and retraining", "3-4.1-ordering_and_retraining.ipynb",
         "3-4.1.{c}-{d}-ordering_and_retraining-configuration_{c}",
         ("dataset", "seed", "configuration"), True),
    Step("4.2", "fresh attacks", "4.2-attacking_retrained.ipynb",
         "4.2.{c}-{d}-attacking_retrained-configuration_{c}",
         ("dataset", "seed", "configuration"), True),
    Step("5.1", "plots", "5.1-plot.ipynb",
         "5.1.{c}-{d}-plot-c{c}", ("dataset", "configuration"), False),
    Step("5.2", "comparison", "5.2-comparison.ipynb", "5.2-comparison", (), False),
    Step("5.3", "sensitivity", "5.3-sensitivity.ipynb", "5.3-sensitivity", (), False),
)  # fmt: skip


VARIED = ("0.0", "0.1", "1.1", "2.1", "3-4.1")
"""Ids of the steps that the variants of a run repeat."""


@dataclass(frozen=True)
class Job:
    """One template with one set of parameters."""

    step: Step
    workspace: Workspace
    parameters: Mapping[str, object]
    """Every parameter of the template, but for the workspace."""
    report: Path
    """The executed copy without suffix; ``.ipynb``, ``.html``, ``.json``, ``.log`` stand there."""
    inputs: tuple[str, ...]
    """Files it reads, as patterns from the workspace's root."""
    outputs: tuple[str, ...]
    """Files it writes, likewise; each pattern must match at least one file when it is done."""
    unfinished: tuple[str, ...] = ()
    """Files that keep what a stopped job had finished, likewise."""
    needs: tuple[str, ...] = ()
    """Names of the jobs that write what it reads."""
    outdated: tuple[str, ...] = ()
    """Files of a step that is left out, made from what this job is going to replace."""

    @property
    def name(self) -> str:
        """Unique in a run, e.g. ``digits/seed-0/0.1.1-digits-original_model_training``."""
        return self.report.relative_to(self.home.reports_root).as_posix()

    @property
    def home(self) -> Workspace:
        """The workspace of the run: also of its variants."""
        return self.workspace.base or self.workspace

    @property
    def original(self) -> Job | None:
        """Of a variant's job the same one in the run that is varied, else None."""
        if self.workspace.base is None:
            return None
        place = self.report.relative_to(self.workspace.reports_root)
        return replace(self, workspace=self.home, report=self.home.reports_root / place)

    @property
    def dataset(self) -> str:
        return str(self.parameters.get("dataset", ""))

    @property
    def seed(self) -> int | None:
        return self.parameters.get("seed")

    def forget(self) -> None:
        """Remove what the job wrote, so that it starts from nothing."""
        for path in set(self.workspace.expand(self.outputs + self.unfinished)):
            path.unlink()

    def remove_outdated(self) -> None:
        """Remove what would speak of networks that are gone; no step would make it anew."""
        for path in self.workspace.expand(self.outdated):
            path.unlink(missing_ok=True)

    def remove_fragments(self) -> None:
        """Remove temporary files that a killed run of this job left behind."""
        root = self.workspace.root
        reports = [self.file(suffix) for suffix in (".ipynb", ".html", ".json")]
        for path in [root / pattern for pattern in self.outputs + self.unfinished] + reports:
            for fragment in path.parent.glob(f".{path.stem}-????????{path.suffix or '.*'}"):
                fragment.unlink(missing_ok=True)

    def file(self, suffix: str) -> Path:
        """A file beside the executed copy, by its suffix."""
        return self.report.with_name(self.report.name + suffix)


def steps_named(words: Iterable[str]) -> list[Step]:
    """The steps a user means by ``0``, ``3``, ``3-4`` or ``5.2``.

    Raises
    ------
    ValueError
        If a word names no step.
    """
    chosen = set()
    for word in words:
        found = [
            s
            for s in STEPS
            if word == s.id or word in s.id.split(".")[0].split("-") or word == s.id.split(".")[0]
        ]
        if not found:
            known = ", ".join(f"{s.id} ({s.title})" for s in STEPS)
            raise ValueError(f"--steps: got {word!r}, expected numbers 0 to 5 or one of {known}")
        chosen.update(found)
    return [s for s in STEPS if s in chosen]


def plan(
    workspace: Workspace,
    datasets: Iterable[str],
    seeds: Iterable[int],
    configurations: Iterable[int],
    settings: Mapping[str, Mapping[str, object]],
    split_metrics: bool = False,
    variants: Mapping[str, Mapping[str, Mapping[str, object]]] | None = None,
) -> list[Job]:
    """The jobs of a request, in an order in which they can run.

    Parameters
    ----------
    workspace : Workspace
    datasets, seeds, configurations : iterables
    settings : mapping
        For each data set the values that replace the templates' defaults.
    split_metrics : bool, default=False
        Retrain each metric in a job of its own. The job of the configuration then only joins their
        curves into the table that it would have made alone.
    variants : mapping, optional
        Name -> settings. The steps up to retraining run once more for each, in a workspace of its
        own, and a last job compares them.
    """
    variants = variants or {}
    axes = {"dataset": list(datasets), "seed": list(seeds), "configuration": list(configurations)}
    jobs = _jobs(workspace, axes, settings, split_metrics)
    for name, changed in variants.items():
        again = _jobs(workspace.variant(name), axes, changed, split_metrics)
        jobs += [job for job in again if job.step.id in VARIED]
    if variants:
        jobs.append(_job(STEPS[-1], workspace, {**_whole(axes), "variants": list(variants)}))
    names = {job.name for job in jobs}
    writers = {job.workspace.root / path: job.name for job in jobs for path in job.outputs}
    for place, job in enumerate(jobs):
        needs = [writers.get(job.workspace.root / path) for path in job.inputs]
        needs += [job.original.name] if job.original else []
        jobs[place] = replace(job, needs=tuple(n for n in dict.fromkeys(needs) if n in names))
    return jobs


def _whole(axes: Mapping[str, list]) -> dict[str, list]:
    """Parameters of what runs once, over all data sets, seeds and configurations."""
    return {f"{axis}s": values for axis, values in axes.items()}


def _jobs(
    workspace: Workspace,
    axes: Mapping[str, list],
    settings: Mapping[str, Mapping[str, object]],
    split_metrics: bool,
) -> list[Job]:
    """All jobs of one workspace but the last step's; see `plan`."""
    jobs: list[Job] = []
    for step in STEPS[:-1]:
        cells: list[dict] = [{}]
        for axis in step.per:
            cells = [{**cell, axis: value} for cell in cells for value in axes[axis]]
        for cell in cells:
            chosen = {**settings.get(cell.get("dataset"), {}), **_whole(axes), **cell}
            if step.id == "4.2" and chosen.get("keep_models") == "none":
                continue  # there is no network to attack
            split = split_metrics and step.id == "3-4.1"
            for metric in _values(step, chosen)["metrics"] if split else []:
                jobs.append(_job(step, workspace, {**chosen, "metrics": [metric], "part": metric}))
            jobs.append(_job(step, workspace, chosen, joins=split))
    return jobs


def _values(step: Step, chosen: Mapping[str, object]) -> dict[str, object]:
    """Every parameter of the step's template: as chosen, else its default."""
    declared = template_parameters(step.path)
    return {n: chosen.get(n, p.default) for n, p in declared.items() if n != "workspace"}


def _job(
    step: Step, workspace: Workspace, chosen: Mapping[str, object], joins: bool = False
) -> Job:
    values = _values(step, chosen)
    d, c, part = values.get("dataset", ""), values.get("configuration"), values.get("part")
    folder = workspace.reports(d, values["seed"] if "seed" in step.per else None)
    inputs, outputs, unfinished = _files(step, workspace, values, joins)
    report = folder / (step.copy.format(d=d, c=c) + (f"-{part}" if part else ""))
    outdated: list[Path] = []
    if step.id == "3-4.1" and values["keep_models"] == "none":  # so there is no step 4.2
        attacked = next(s for s in STEPS if s.id == "4.2").copy.format(d=d, c=c)
        outdated = [
            folder / f"{attacked}.*",
            workspace.fresh_attack(d, values["seed"], c),
            workspace.figures(d, values["seed"]) / f"{d}_c{c}_fresh_attack.*",
        ]
    outdated = tuple(map(workspace.relative, outdated))
    return Job(step, workspace, values, report, inputs, outputs, unfinished, outdated=outdated)


def _files(step: Step, w: Workspace, p: Mapping, joins: bool) -> list[tuple[str, ...]]:
    """What a step reads and writes, and where it keeps what it has finished so far.

    A retraining job `joins` curves that others made, makes a part of them for that, or is alone.
    """
    d, seed, c = p.get("dataset", ""), p.get("seed", 0), p.get("configuration", 0)
    part = p.get("part", "")
    images = [w.data(d) / "*.npy", w.data(d) / "dataset.json"]
    model = [w.original_model(d, seed)]
    quality = [w.original_accuracy(d, seed)]
    history = [] if p.get("own_model") else [w.models(d, seed) / "history.csv"]
    adversarial = [w.adversarial(d, seed) / "*.npy"]
    scores = [w.metrics(d, seed) / f"{m}.npy" for m in p.get("metrics", [])]
    kept = [w.models(d, seed) / f"c{c}_{m}_p*.keras" for m in p.get("metrics", [])]
    kept = kept if p.get("keep_models", "none") != "none" else []
    runs = [
        (dataset, run, configuration)
        for dataset in p.get("datasets", [d])
        for configuration in p.get("configurations", [c])
        for run in p.get("seeds", [seed])
    ]
    tables = [w.results(*run, part) for run in runs]
    varied = [w.variant(v).results(*run) for v in p.get("variants", []) for run in runs]
    fresh = [w.fresh_attack(*run) for run in runs]
    about = [table.with_suffix(".json") for table in tables]
    curves = [w.curve(d, seed, c, m) for m in p.get("metrics", [])]
    reads, writes, *unfinished = {
        "0.0": ([], images),
        "0.1": (images, model + quality + history),
        "1.1": (images + model, [*adversarial, w.adversarial(d, seed) / "attacks.csv"]),
        "2.1": (images + model + adversarial, [*scores, w.metrics(d, seed) / "metrics.csv"]),
        "3-4.1": (
            images + model + quality + adversarial + scores + (curves + kept if joins else []),
            tables + about + ([] if joins else kept) + (curves if part else []),
            [] if joins else curves,
        ),
        "4.2": (
            images + model + adversarial + tables + [w.models(d, seed) / f"c{c}_*_p*.keras"],
            [*fresh, w.figures(d, seed) / f"{d}_c{c}_fresh_attack.*"],
        ),
        "5.1": (tables, [w.reports(d) / f"{d}_c{c}_summary.csv", w.figures(d) / f"{d}_c{c}_*"]),
        "5.2": (
            tables + fresh,
            [
                w.reports() / "comparison.csv",
                w.reports() / "recommendation.json",
                w.figures() / "comparison_*",
            ],
        ),
        "5.3": (tables + varied, [w.reports() / "sensitivity.csv", w.figures() / "sensitivity_*"]),
    }[step.id]
    unfinished = unfinished[0] if unfinished else []
    return [tuple(map(w.relative, paths)) for paths in (reads, writes, unfinished)]
