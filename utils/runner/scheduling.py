"""Runs jobs side by side on a Dask cluster, each after those whose files it reads."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import TYPE_CHECKING

from distributed.comm import CommClosedError

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
from utils.runner.cluster import Cluster, ClusterLost, Watch, admit, connect, site_of
from utils.runner.execution import last_words
from utils.runner.lock import Lock
from utils.runner.worker import Ended, Runner, Task, run_task

if TYPE_CHECKING:
    from distributed import Future

POLL_SECONDS, CLUSTER_POLL_SECONDS = 0.25, 2.0
LOST = "the scheduler is gone; what is finished is kept, the same command goes on from there"


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
    with connect(cluster) as client:
        threads = max(int(job.parameters.get("threads", 1)) for job in jobs)
        runner = Runner(
            run_id,
            site_of(lock),
            any(job.step.network for job in jobs),
            threads if cluster.scheduler else 1,
        )
        begun: dict[str, str] = {}  # job -> the worker that it runs on

        def told(event: tuple[float, dict]) -> None:
            about = event[1]
            if "refused" in about:
                say(f"Worker {about['worker']} is not used: it {about['refused']}")
                return
            key, where = about["begun"], about["worker"]
            if key in begun:
                name = key.removeprefix(f"{run_id} ")
                say(f"A worker is lost; {name} goes on on {where}")
            begun[key] = where

        try:
            admit(client, runner, cluster, say)
            client.subscribe_topic(run_id, told)
            watch = Watch(client, cluster, run_id, say) if cluster.scheduler else None

            def submit(job: Job) -> Future:
                gpus = cluster.gpus_per_job if job.step.network else 0
                task = _task(job, links[job.name], run_id, rule, gpus)
                needs = {run_id: 1} | ({"GPU": gpus} if gpus else {})
                return client.submit(
                    # A function without a name, which is sent whole: see `cluster.connect`.
                    lambda: run_task(run_id, task),
                    key=f"{run_id} {job.name}",
                    pure=False,
                    resources=needs,
                )

            def poll(outcomes: dict[str, Outcome]) -> None:
                waiting = [j for j in jobs if j.name not in outcomes]
                there = watch.addresses() if watch else set(begun.values())
                running = [j for j in waiting if begun.get(f"{run_id} {j.name}") in there]
                running = [j for j in running if state_of(j, run_id) == State.RUNNING]
                on_poll(outcomes, {j.name: last_words(j) for j in running})
                time.sleep(CLUSTER_POLL_SECONDS if cluster.scheduler else POLL_SECONDS)

            return _run_all(jobs, submit, run_id, poll)
        except CommClosedError as error:
            raise ClusterLost(LOST) from error
        finally:
            with suppress(Exception):  # the scheduler may be gone
                client.unregister_worker_plugin(runner.name)  # which stops what is running
            for job in jobs:
                if state_of(job, run_id) == State.RUNNING:
                    _record(job, State.INTERRUPTED)


def _run_all(
    jobs: list[Job],
    submit: Callable[[Job], Future],
    run_id: str,
    poll: Callable[[dict[str, Outcome]], None],
) -> dict[str, Outcome]:
    """Submit each job once those it needs are done, and watch until all have ended.

    Dask is not told who needs whom, and forgets what is done: when a worker is lost, it would run
    jobs again whose outcome was there, or on which such a job waits, though their files are still
    there.
    """
    outcomes: dict[str, Outcome] = {}
    futures: dict[str, Future] = {}
    names = {job.name for job in jobs}
    while len(outcomes) < len(jobs):
        for job in jobs:
            needs = names.intersection(job.needs)
            if job.name in outcomes or not needs <= outcomes.keys():
                continue
            if not all(outcomes[name].fine for name in needs):
                outcomes[job.name] = _not_run(job)
            elif job.name not in futures:
                futures[job.name] = submit(job)
            elif futures[job.name].done():
                outcomes[job.name] = _outcome(job, futures.pop(job.name), run_id)
        poll(outcomes)
    return outcomes


def _outcome(job: Job, future: object, run_id: str) -> Outcome:
    """How a job ended; a record is written for one that could not do so itself."""
    try:
        ended: Ended = future.result()
    except CancelledError:
        raise ClusterLost(LOST) from None
    except Exception as error:  # such as a worker that died again and again
        return _failed(job, f"{type(error).__name__}: {' '.join(str(error).split())}")
    if ended.code is None:
        return Outcome(State.INTERRUPTED, ended.seconds)
    record = parse_record(ended.record)
    own = record is not None and record["run"] == run_id
    if ended.code == 0 and not own:
        return Outcome(State.UP_TO_DATE)
    if not own or record["state"] == State.RUNNING:
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


def _record(job: Job, state: State, content: Mapping[str, object] | None = None) -> None:
    with suppress(OSError):  # a full disk: the next run finds the job unfinished all the same
        write_record(job, state, content)


def _task(job: Job, links: Links, run_id: str, rule: str, gpus: int) -> Task:
    """The job as a worker needs it."""
    message = pickle.dumps((job, links, run_id, rule))
    return Task(message, str(job.report), _environment(job), job.step.network, gpus)


def _environment(job: Job) -> dict[str, str]:
    """Numerical libraries use as many threads as the job declares, so results don't vary."""
    threads = str(job.parameters.get("threads", 1))
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {
        **dict.fromkeys(names, threads),
        "PYTHONUNBUFFERED": "1",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # whatever the user's is
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",  # or the first job takes all of a GPU's memory
    }
