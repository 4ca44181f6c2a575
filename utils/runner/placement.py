"""Which worker runs a job: one that is fit and has a free slot, and another if that is lost."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, NamedTuple

from utils.runner.cluster import Workers, asking, gpus_of
from utils.runner.worker import Ended, Task, run_task

if TYPE_CHECKING:
    from distributed import Client, Future

MOST_LOST = 3
"""A job that has lost more workers than that is not given to another: it may be what kills them."""
FETCH_SECONDS = 10
MOVE_SECONDS = 10
"""A job that has not begun after so long goes to a worker that has nothing to do; heartbeats, which
tell what has begun, are at most half as far apart."""


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
    `threads` are the processor threads of a job: a worker runs as many jobs as it has room for.
    `tries` holds the jobs that have been started and have not ended, by their names.
    """

    def __init__(self, client: Client, workers: Workers, threads: int) -> None:
        self.client, self.workers, self.threads = client, workers, threads
        self.tries: dict[str, Try] = {}
        self._there = workers.fit()
        self._losses: Counter[str] = Counter()
        self._numbers = itertools.count()
        self._woken = threading.Event()

    @asking()
    def ended(self) -> dict[str, Ended | Exception]:
        """What came of the jobs that have ended; those whose worker is lost are to be started."""
        found: dict[str, Ended | Exception] = {}
        self._there = self.workers.fit()
        for name, (future, where, *_) in list(self.tries.items()):
            if future.done():
                try:
                    found[name] = future.result(timeout=FETCH_SECONDS)
                except CancelledError:  # the scheduler is gone
                    raise
                except TimeoutError:  # the worker went before its answer was fetched
                    pass
                except Exception as error:
                    found[name] = error
            if name not in found and where not in self._there and self.client.status == "running":
                self._losses[name] += 1
                if self._losses[name] > MOST_LOST:
                    found[name] = RuntimeError(f"{self._losses[name]} workers died while it ran")
                else:
                    del self.tries[name]
        for name in found:
            del self.tries[name]
        self._move()
        return found

    def _move(self) -> None:
        """Take back jobs that have not begun, though a worker that could run them does nothing."""
        if len(self._there) == 1:
            return
        for name, (future, where, gpus, since) in list(self.tries.items()):
            begun = where not in self._there or future.key in self._there[where]["begun"]
            if begun or time.monotonic() - since < MOVE_SECONDS:
                continue
            other = self.room(gpus)
            if other and not self.client.processing([other])[other]:
                future.cancel()
                del self.tries[name]

    @asking()
    def room(self, gpus: int) -> str | None:
        """The least busy worker with a free slot, and so many GPUs; None if all have enough to do.

        Of several runs each has its own slots, so that none waits for the end of another.
        """
        tries = self.tries.values()
        mine = {address: [t for t in tries if t.where == address] for address in self._there}
        free = [
            address
            for address, about in self._there.items()
            if about["status"] == "running"
            and len(mine[address]) < max(1, about["nthreads"] // self.threads)
            and gpus + sum(t.gpus for t in mine[address]) <= gpus_of(about)
        ]
        busy = self.client.processing() if len(free) > 1 else {}  # with other runs, too
        return min(free, key=lambda a: max(len(busy.get(a, ())), len(mine[a])), default=None)

    def start(self, name: str, task: Task, where: str) -> None:
        """Start a job on a worker."""
        run_id = self.workers.run_id
        future = self.client.submit(
            # A function without a name, which is sent whole: see `cluster.connect`.
            lambda: run_task(run_id, task),
            key=f"{run_id} {name} {next(self._numbers)}",
            workers=[where],
            resources={"GPU": task.gpus} if task.gpus else None,
        )
        future.add_done_callback(lambda _: self._woken.set())
        self.tries[name] = Try(future, where, task.gpus, time.monotonic())
        if self._losses[name]:
            self.workers.say(f"A worker is lost; {name} goes on on {where}")

    def wait(self, seconds: float) -> None:
        """Until some job has ended, or so long."""
        self._woken.wait(seconds)
        self._woken.clear()
