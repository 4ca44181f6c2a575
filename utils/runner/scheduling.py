"""Runs jobs side by side on a Dask cluster, each after those whose files it reads."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from utils.core.files import no_room
from utils.plan.jobs import Job
from utils.plan.records import (
    Outcome,
    State,
    describe_error,
    parse_record,
    read_record,
    state_of,
    write_record,
)
from utils.reports.pages import Links
from utils.runner.cluster import Cluster, admit, connect, site_of
from utils.runner.execution import last_words
from utils.runner.lock import Lock
from utils.runner.placement import Placement
from utils.runner.worker import Ended, Runner, Task

POLL_SECONDS, CLUSTER_POLL_SECONDS = 0.25, 2.0


def run(
    jobs: Iterable[Job],
    links: Mapping[str, Links],
    lock: Lock,
    cluster: Cluster,
    rule: str,
    on_poll: Callable[[dict[str, Outcome], dict[str, str]], None],
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Outcome]:
    """Run jobs side by side, each after those it needs; the others go on when one fails.

    Parameters
    ----------
    jobs : iterable of Job
        In an order in which they can run.
    links : mapping
        Links of each job's page, by the job's name.
    lock : Lock
        Of the jobs' workspace, taken.
    cluster : Cluster
    rule : {"content", "force", "trust"}
        Which jobs count as up to date; see `utils.plan.freshness.status`.
    on_poll : callable
        Called several times a second with the outcomes so far and what each running job says.
    say : callable
        Called with what a user should know about the cluster, a line each.

    Returns
    -------
    dict of str to Outcome

    Raises
    ------
    KeyboardInterrupt
        After the running jobs have been stopped.
    ClusterError
        If the cluster can't be used, or is lost.
    """
    jobs, run_id = list(jobs), lock.run_id
    known, outcomes = {job.name: job for job in jobs}, {}
    threads = max(int(job.parameters.get("threads", 1)) for job in jobs)
    with connect(cluster) as client:
        runner = Runner(run_id, site_of(lock), any(job.step.network for job in jobs))
        try:
            admit(client, runner, cluster, say)
            threads = threads if cluster.scheduler else 1
            placement = Placement(client, cluster, run_id, threads, say)
            while True:
                for name, ended in placement.ended().items():
                    outcomes[name] = _outcome(known[name], ended, run_id)
                for job in jobs:
                    needs = known.keys() & set(job.needs)
                    begun = job.name in outcomes or job.name in placement.tries
                    if begun or not needs <= outcomes.keys():
                        continue
                    gpus = cluster.gpus_per_job if job.step.network else 0
                    if not all(outcomes[name].fine for name in needs):
                        outcomes[job.name] = _not_run(job)
                    elif where := placement.room(job.name, gpus):
                        task = _task(job, links[job.name], run_id, rule, gpus)
                        placement.start(job.name, task, where)
                running = [known[name] for name in placement.tries]
                running = [job for job in running if state_of(job, run_id) == State.RUNNING]
                on_poll(outcomes, {job.name: last_words(job) for job in running})
                if len(outcomes) == len(jobs):
                    return outcomes
                placement.judge({job.where for job in placement.tries.values()})
                placement.wait(CLUSTER_POLL_SECONDS if cluster.scheduler else POLL_SECONDS)
        finally:
            with suppress(Exception):  # the scheduler may be gone
                client.unregister_worker_plugin(runner.name)  # which stops what is running
            for job in jobs:
                if state_of(job, run_id) == State.RUNNING:
                    _record(job, State.INTERRUPTED)


def _outcome(job: Job, ended: Ended | Exception, run_id: str) -> Outcome:
    """How a job ended; a record is written for one that could not do so itself."""
    if isinstance(ended, Exception):
        return _failed(job, f"{type(ended).__name__}: {' '.join(str(ended).split())}")
    if ended.code is None:
        return Outcome(State.INTERRUPTED, ended.seconds)
    record = parse_record(ended.record)
    if record is not None and record["run"] != run_id:
        record = None  # of an earlier run
    if ended.code == 0 and record is None:
        return Outcome(State.UP_TO_DATE)
    if record is None or record["state"] == State.RUNNING:
        says = f"its process ended with code {ended.code}; see {job.file('.log')}"
        return _failed(job, no_room(job.workspace.root) or says, ended.seconds)
    return Outcome(record["state"], ended.seconds, describe_error(record))


def _not_run(job: Job) -> Outcome:
    detail = "a job it needs did not finish"
    _record(job, State.NOT_RUN, {**(read_record(job.file(".json")) or {}), "says": detail})
    return Outcome(State.NOT_RUN, detail=detail)


def _failed(job: Job, detail: str, seconds: float = 0.0) -> Outcome:
    _record(job, State.FAILED, {"error": {"error": detail}})
    return Outcome(State.FAILED, seconds, detail)


def _record(job: Job, state: State, content: Mapping[str, Any] | None = None) -> None:
    with suppress(OSError):  # a full disk: the next run finds the job unfinished all the same
        write_record(job, state, content)


def _task(job: Job, links: Links, run_id: str, rule: str, gpus: int) -> Task:
    """The job as a worker needs it."""
    message = pickle.dumps((job, links, run_id, rule))
    # Numerical libraries use as many threads as the job declares, so results don't vary.
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = dict.fromkeys(names, str(job.parameters.get("threads", 1)))
    environment["PYTHONUNBUFFERED"] = "1"
    return Task(message, str(job.report), environment, job.step.network, gpus)
