"""Which jobs a request means, and what each reads and writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from utils.core.files import unshare
from utils.core.paths import Workspace
from utils.metrics.registry import METRICS
from utils.plan.parameters import template_parameters
from utils.plan.steps import FRESH_ATTACKS, RETRAINING, SENSITIVITY, STEPS, VARIED, Step, files
from utils.retraining.configurations import CONFIGURATIONS


@dataclass(frozen=True)
class Job:
    """One template with one set of parameters."""

    step: Step
    workspace: Workspace
    parameters: Mapping[str, Any]
    """Every parameter of the template, but for the workspace."""
    report: Path
    """The executed copy without suffix; beside it ``.ipynb``, ``.html``, ``.json``, ``.log``."""
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
        inside = self.report.relative_to(self.workspace.reports_root)
        return replace(self, workspace=self.home, report=self.home.reports_root / inside)

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

    def unshare(self) -> None:
        """Make what the job is going to write its own, however its template writes it."""
        for path in set(self.workspace.expand(self.outputs + self.unfinished)):
            unshare(path)

    def remove_outdated(self) -> None:
        """Remove what would speak of networks that are gone; no step would make it anew."""
        for path in self.workspace.expand(self.outdated):
            path.unlink(missing_ok=True)

    def remove_leftovers(self) -> None:
        """Remove temporary files that a killed run of this job left behind."""
        root = self.workspace.root
        reports = [self.file(suffix) for suffix in (".ipynb", ".html", ".json")]
        for path in [root / pattern for pattern in self.outputs + self.unfinished] + reports:
            for leftover in path.parent.glob(f".{path.stem}-????????{path.suffix or '.*'}"):
                leftover.unlink(missing_ok=True)

    def file(self, suffix: str) -> Path:
        """A file beside the executed copy, by its suffix."""
        return self.report.with_name(self.report.name + suffix)


def plan(
    workspace: Workspace,
    datasets: Iterable[str],
    seeds: Iterable[int],
    configurations: Iterable[int],
    settings: Mapping[str, Mapping[str, Any]],
    split_metrics: bool = False,
    variants: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
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
    axes: dict[str, list] = {"dataset": list(datasets), "seed": list(seeds)}
    axes["configuration"] = list(configurations)
    jobs = _jobs(workspace, axes, settings, split_metrics)
    for name, changed in variants.items():
        again = _jobs(workspace.variant(name), axes, changed, split_metrics)
        jobs += [job for job in again if job.step in VARIED]
    if variants:
        jobs.append(_job(SENSITIVITY, workspace, {**_whole(axes), "variants": list(variants)}))
    names = {job.name for job in jobs}
    writers = {job.workspace.root / path: job.name for job in jobs for path in job.outputs}
    for number, job in enumerate(jobs):
        needs = [writers.get(job.workspace.root / path) for path in job.inputs]
        needs += [job.original.name] if job.original else []
        jobs[number] = replace(job, needs=tuple(n for n in dict.fromkeys(needs) if n in names))
    return jobs


def _whole(axes: Mapping[str, list]) -> dict[str, list]:
    """Parameters of what runs once, over all data sets, seeds and configurations."""
    return {f"{axis}s": values for axis, values in axes.items()}


def _jobs(
    workspace: Workspace,
    axes: Mapping[str, list],
    settings: Mapping[str, Mapping[str, Any]],
    split_metrics: bool,
) -> list[Job]:
    """All jobs of one workspace but the one that compares it with others; see `plan`."""
    jobs: list[Job] = []
    for step in STEPS:
        if step == SENSITIVITY:
            continue
        cells: list[dict] = [{}]
        for axis in step.per:
            cells = [{**cell, axis: value} for cell in cells for value in axes[axis]]
        for cell in cells:
            chosen = {**settings.get(cell.get("dataset", ""), {}), **_whole(axes), **cell}
            if "configuration" in cell:
                chosen["metrics"] = _metrics(step, chosen)
            if step == FRESH_ATTACKS and chosen.get("keep_models") == "none":
                continue  # there is no network to attack
            split = split_metrics and step == RETRAINING
            parts = _values(step, chosen)["metrics"] if split else []
            jobs += [_job(step, workspace, chosen | {"metrics": [m], "part": m}) for m in parts]
            jobs.append(_job(step, workspace, chosen, joins=split))
    return jobs


def _metrics(step: Step, chosen: Mapping[str, Any]) -> list[str]:
    """The metrics that say something in a configuration; all, if that leaves none."""
    metrics = _values(step, chosen).get("metrics", [])
    if len(CONFIGURATIONS[chosen["configuration"]].ordered) > 1:
        return metrics
    return [metric for metric in metrics if not METRICS[metric].mixed] or metrics


def _values(step: Step, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Every parameter of the step's template: as chosen, else its default."""
    declared = template_parameters(step.path)
    return {n: chosen.get(n, p.default) for n, p in declared.items() if n != "workspace"}


def _job(step: Step, workspace: Workspace, chosen: Mapping[str, Any], joins: bool = False) -> Job:
    values = _values(step, chosen)
    d, c, part = values.get("dataset", ""), values.get("configuration"), values.get("part")
    folder = workspace.reports(d, values["seed"] if "seed" in step.per else None)
    own = files(step, workspace, values, joins)
    report = folder / (step.copy.format(d=d, c=c) + (f"-{part}" if part else ""))
    inputs = own.reads + own.reads_too
    outdated: tuple[str, ...] = ()
    if step == RETRAINING and values["keep_models"] == "none":  # so there is no step 4.2
        attacks = workspace.relative(folder / f"{FRESH_ATTACKS.copy.format(d=d, c=c)}.*")
        outdated = (attacks, *files(FRESH_ATTACKS, workspace, values).writes)
    return Job(
        step, workspace, values, report, inputs, own.writes, own.unfinished, outdated=outdated
    )
