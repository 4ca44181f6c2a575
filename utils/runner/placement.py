"""Which worker runs a job: one that is fit and has a free slot, and another if that is lost."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, NamedTuple

from distributed.comm import CommClosedError

from utils.runner.cluster import LOST, Cluster, ClusterLost, answers, asking
from utils.runner.worker import Ended, Task, run_task

if TYPE_CHECKING:
    from distributed import Client, Future

MOST_LOST = 3
"""A job that has lost more workers than that is not given to another: it may be what kills them."""
FETCH_SECONDS = 10
MOVE_SECONDS = 10
"""A job that has not begun after so long goes to a worker that has nothing to do; heartbeats, which
tell what has begun, are at most half as far apart."""
REMIND_SECONDS = 300
"""So often it is said that the run still waits for a worker."""
GIVE_UP_SECONDS = 3600
"""A run that no worker can go on with ends after so long."""


class Try(NamedTuple):
    """A job on a worker."""

    future: Future
    where: str
    gpus: int
    since: float
    """When it was given to the worker, in `time.monotonic`."""


class Placement:
    """Gives a job to a worker by name; Dask has nothing to choose.

    Left to itself, Dask would run jobs on workers that are not fit, and when a worker is lost, jobs
    again whose outcome was there or on which such a job waits, though their files are still there.
    A job may wait there for one of another run, so that each has its turn; not while another worker
    has nothing to do.

    Parameters
    ----------
    client : Client
    cluster : Cluster
    run_id : str
    threads : int
        Processor threads of a job: a worker runs as many jobs as it has room for.
    say : callable
        Called with a line: that a worker is not used and why, that a job goes on on another, that
        no worker is left.

    Attributes
    ----------
    tries : dict
        The jobs that have been started and have not ended, by their names.
    """

    def __init__(
        self,
        client: Client,
        cluster: Cluster,
        run_id: str,
        threads: int,
        say: Callable[[str], None],
    ) -> None:
        self.client, self.cluster, self.run_id = client, cluster, run_id
        self.threads, self.say = threads, say
        self.tries: dict[str, Try] = {}
        self._there: dict[str, dict] = {}
        self._refused: set[str] = set()
        self._losses: Counter[str] = Counter()
        self._just_lost: set[str] = set()
        self._left: dict[str, str] = {}
        self._numbers = itertools.count()
        self._woken = threading.Event()
        self._used_at, self._reminders = time.monotonic(), 0

    def fit(self) -> dict[str, dict]:
        """`answers` of the workers that are there and fit; those that join are asked, too."""
        if self.client.status not in ("running", "connecting"):
            raise ClusterLost(LOST)
        found = answers(self.client, self.cluster, self.run_id)
        if self.client.status != "running":
            return {}  # it is the scheduler that is gone
        self._refused &= found.keys()  # another worker may come to an address that is free again
        for address, answer in found.items():
            if answer.get("refusal") and address not in self._refused:
                self._refused.add(address)
                self.say(f"Worker {address} is not used: it {answer['refusal']}")
        return {a: answer for a, answer in found.items() if answer.get("refusal") == ""}

    def ended(self) -> dict[str, Ended | Exception]:
        """What came of the jobs that have ended; those whose worker is lost are to be started."""
        found: dict[str, Ended | Exception] = {}
        self._there = self.fit()
        for name, (future, where, *_) in list(self.tries.items()):
            if future.done():
                try:
                    found[name] = future.result(timeout=FETCH_SECONDS)
                except (CancelledError, CommClosedError):
                    raise ClusterLost(LOST) from None
                except TimeoutError as error:
                    if future.status == "error":  # the job's own, else the worker went before
                        found[name] = error
                except Exception as error:
                    found[name] = error
            lost = where not in self._there and self.client.status == "running"
            if name not in found and lost:
                self._losses[name] += 1
                self._just_lost.add(name)
                if self._losses[name] > MOST_LOST:
                    found[name] = RuntimeError(f"{self._losses[name]} workers died while it ran")
            if name in found or lost or self._could_move(name):
                self._left[name] = where
                self.tries.pop(name).future.release()
        return found

    @asking()
    def _could_move(self, name: str) -> bool:
        """Whether a job has not begun, though a worker that could run it does nothing."""
        future, where, gpus, since = self.tries[name]
        alone = self._there.keys() <= {where}
        patience = MOVE_SECONDS + len(self._there) / 100  # heartbeats of many come less often
        if alone or where not in self._there or time.monotonic() - since < patience:
            return False
        if future.key in self._there[where]["begun"]:
            return False
        other = self.room(name, gpus)
        return other is not None and not self.client.processing().get(other)

    @asking()
    def room(self, name: str, gpus: int) -> str | None:
        """The least busy worker with a free slot, and so many GPUs; None if all have enough to do.

        Of several runs each has its own slots, so that none waits for the end of another. A worker
        that the job was taken from comes last.
        """
        tries = self.tries.values()
        mine = {address: [t for t in tries if t.where == address] for address in self._there}
        free = [
            address
            for address, about in self._there.items()
            if about["running"]
            and len(mine[address]) < max(1, about["threads"] // self.threads)
            and gpus + sum(t.gpus for t in mine[address]) <= about["gpus"]
        ]
        busy = self.client.processing() if len(free) > 1 else {}  # with other runs, too
        left = self._left.get(name)
        return min(
            free, key=lambda a: (a == left, max(len(busy.get(a, ())), len(mine[a]))), default=None
        )

    def start(self, name: str, task: Task, where: str) -> None:
        """Start a job on a worker."""
        run_id = self.run_id
        future = self.client.submit(
            # A function without a name, which is sent whole: see `cluster.connect`.
            lambda: run_task(run_id, task),
            key=f"{run_id} {name} {next(self._numbers)}",
            workers=[where],
            resources={"GPU": task.gpus} if task.gpus else None,
        )
        future.add_done_callback(lambda _: self._woken.set())
        self.tries[name] = Try(future, where, task.gpus, time.monotonic())
        if name in self._just_lost:
            self._just_lost.remove(name)
            self.say(f"A worker is lost; {name} goes on on {where}")

    def judge(self, used: Collection[str]) -> None:
        """Wait for workers, some time, while those that are there can do nothing for this run.

        Parameters
        ----------
        used : collection of str
            Addresses of those that run its jobs; if it is empty, some job waits for a worker.

        Raises
        ------
        ClusterLost
            If there has been none for `GIVE_UP_SECONDS`.
        """
        if used:
            if self._reminders:
                self.say(f"A worker is there again ({min(used)}); the run goes on.")
            self._used_at, self._reminders = time.monotonic(), 0
            return
        waited, scheduler = time.monotonic() - self._used_at, self.cluster.scheduler
        if waited < self._reminders * REMIND_SECONDS or self.client.status != "running":
            return
        if waited >= GIVE_UP_SECONDS:
            raise ClusterLost(
                f"--scheduler {scheduler}: no worker has been left for {waited / 60:.0f} minutes; "
                "what is finished is kept, start workers and the same command goes on from there"
            )
        if self._reminders:
            self.say(f"No worker for {waited / 60:.0f} minutes; still waiting (Ctrl-C stops).")
        else:
            gpus = self.cluster.gpus_per_job
            options = f"{scheduler} --resources GPU={gpus}" if gpus else scheduler
            self.say(
                f"No worker is left: nothing runs until one joins (dask worker {options}). The run "
                f"waits for {GIVE_UP_SECONDS // 60} minutes; Ctrl-C stops it."
            )
        self._reminders += 1

    def wait(self, seconds: float) -> None:
        """Until some job has ended, or so long."""
        self._woken.wait(seconds)
        self._woken.clear()
