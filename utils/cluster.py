"""Where jobs run: this machine, or a Dask cluster; which of its workers are fit for a run."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from distributed.comm import get_address_host_port, parse_address

from utils import forkserver, provenance, worker
from utils.lock import Lock
from utils.worker import Runner, Site, refusal_of
from utils.workspace import ROOT

if TYPE_CHECKING:
    from distributed import Client


class ClusterError(Exception):
    """The cluster can't be used; the message is one line that says why."""

    code = 2
    """Exit code of `run_all.py`."""


class ClusterLost(ClusterError):
    """The cluster is gone in the middle of a run."""

    code = 1


@dataclass(frozen=True)
class Cluster:
    """Where jobs run.

    Attributes
    ----------
    jobs : int
        How many run at a time on this machine.
    scheduler : str
        Address of a Dask scheduler whose workers run the jobs instead; each runs as many at a time
        as it has threads, divided by those of a job.
    gpus_per_job : int
        GPUs that a job whose network is trained or attacked has to itself.
    """

    jobs: int = 1
    scheduler: str = ""
    gpus_per_job: int = 0


def reach(scheduler: str) -> None:
    """Knock at the address of a scheduler; a `Client` would take half a minute to give up.

    Raises
    ------
    ClusterError
        If it is no address, or nobody answers.
    """
    try:
        if parse_address(scheduler)[0] in ("tcp", "tls"):
            with socket.create_connection(get_address_host_port(scheduler), timeout=10):
                pass
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"--scheduler {scheduler}: can't connect ({error}); start one with: dask scheduler"
        ) from None


@contextmanager
def connect(cluster: Cluster) -> Iterator[Client]:
    """A client of the cluster that is asked for."""
    import dask
    from distributed import Client, LocalCluster

    if cluster.scheduler:
        import cloudpickle

        for module in (worker, forkserver):  # the workers get them, instead of importing them
            cloudpickle.register_pickle_by_value(module)
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # we say what matters
        with Client(cluster.scheduler, set_as_default=False) as client:
            yield client
        return
    dask.config.set(
        {"distributed.admin.tick.limit": "1h", "distributed.worker.memory.target": False}
    )
    resources = {}
    if cluster.gpus_per_job:
        from utils.resources import count_gpus

        resources = {"GPU": count_gpus()}
    with (
        # Its threads only wait for the jobs' processes.
        LocalCluster(
            n_workers=1, threads_per_worker=cluster.jobs, processes=False, resources=resources,
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL, memory_limit=0,
        ) as local,
        Client(local, set_as_default=False) as client,
    ):  # fmt: skip
        yield client


def site_of(lock: Lock) -> Site:
    """What workers must see and have, as this process does."""
    return Site(
        str(ROOT),
        str(lock.mark),
        lock.mark.read_text(encoding="utf-8"),
        worker.code_of(ROOT),
        provenance.facts()["packages"] | {n: version(n) for n in ("distributed", "cloudpickle")},
    )


def admit(client: Client, runner: Runner, cluster: Cluster, say: Callable[[str], None]) -> None:
    """Make the workers ready for the run; those that are not fit for it are not used."""
    where = f"--scheduler {cluster.scheduler}"
    say(f"Dashboard: {client.dashboard_link}")  # if the scheduler was not started without one
    if cluster.scheduler and not client.scheduler_info()["workers"]:
        say("The scheduler has no workers yet; waiting for the first (Ctrl-C stops).")
        client.wait_for_workers(1)
    about = client.get_versions()
    ours = about["client"]["host"]["python"]
    others = {"the scheduler": about["scheduler"]}
    others |= {f"worker {address}": facts for address, facts in about["workers"].items()}
    for name, facts in others.items():
        theirs = facts["host"]["python"]
        if theirs.split(".")[:2] != ours.split(".")[:2]:  # the code we send needs the same
            raise ClusterError(f"{where}: {name} has Python {theirs}, expected {ours}")
    client.register_plugin(runner, name=runner.name)
    answers = client.run(refusal_of, runner.name)
    refused = {address: why for address, why in answers.items() if why}
    if len(refused) == len(answers):
        address, why = next(iter(refused.items()))
        raise ClusterError(f"{where}: no worker is fit for it: {address} {why}")
    for address, why in refused.items():
        say(f"Worker {address} is not used: it {why}")
    if cluster.gpus_per_job:
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        most = max(about["resources"].get("GPU", 0) for about in workers)
        if most < cluster.gpus_per_job:
            raise ClusterError(
                f"--gpus-per-job {cluster.gpus_per_job}: no worker offers more than {most:g}; "
                "start workers with --resources GPU=<number>"
            )
