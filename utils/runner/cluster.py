"""Where jobs run: this machine, or a Dask cluster; which of its workers are fit for a run."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from distributed import rpc
from distributed.comm import CommClosedError, get_address_host_port

from utils.core.paths import ROOT
from utils.machine import provenance
from utils.machine.meter import count_gpus
from utils.runner import environment, forkserver, worker
from utils.runner.dask_defaults import use_defaults
from utils.runner.lock import Lock, Refused
from utils.runner.worker import Runner, Site

if TYPE_CHECKING:
    from distributed import Client


REACH_SECONDS = 8
"""A scheduler that has not answered after so long is taken for none."""
ANSWER_SECONDS = 30
"""When a run begins, its workers have so long to answer whether they are fit."""
LOST = "the scheduler is gone; what is finished is kept, the same command goes on from there"
OTHER = "what answers there is no Dask scheduler, or one that wants tls://"


class ClusterError(Refused):
    """The cluster can't be used."""


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


@contextmanager
def asking() -> Iterator[None]:
    """Say it if the scheduler dies, is closed or falls silent while it is asked.

    Nothing else may happen meanwhile: that the disk is full, or that the terminal has gone, is an
    OSError, too.
    """
    try:
        yield
    except (OSError, CancelledError) as error:
        raise ClusterLost(LOST) from error


def reach(scheduler: str) -> None:
    """Ask who is at an address; a `Client` would take half a minute to give up, or not do so.

    Raises
    ------
    ClusterError
        If it is no address, nobody answers, or somebody who is no scheduler.
    """
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # we say what matters
    where, address = f"--scheduler {scheduler}", _address(scheduler)
    try:
        if address.startswith(("tcp", "tls")):
            host_and_port = get_address_host_port(address, strict=True)
            socket.create_connection(host_and_port, timeout=REACH_SECONDS / 2).close()
        found = asyncio.run(_identity(address))
    except TimeoutError:
        reason = f"no Dask scheduler has answered within {REACH_SECONDS} seconds"
    except CommClosedError:
        reason = OTHER
    except (OSError, ValueError, TypeError) as error:  # a TypeError: there are no keys for TLS
        reason = " ".join(str(error).split())
    except Exception:  # whoever is there may answer with anything
        reason = OTHER
    else:
        if found == "Scheduler":
            return
        raise ClusterError(f"{where}: is the address of a {found}, expected that of its scheduler")
    raise ClusterError(
        f"{where}: can't connect ({reason}); expected the address that `dask scheduler` prints, "
        "such as tcp://HOST:8786, or tls://HOST:8786 with its keys in your Dask configuration"
    )


def _address(scheduler: str) -> str:
    """With the protocol, which may be left out."""
    return scheduler if "://" in scheduler else f"tcp://{scheduler}"


async def _identity(scheduler: str) -> str:
    """What an address says that it is."""
    async with asyncio.timeout(REACH_SECONDS), rpc(scheduler, timeout=REACH_SECONDS) as there:
        return (await there.identity())["type"]


@contextmanager
def connect(cluster: Cluster) -> Iterator[Client]:
    """A client of the cluster that is asked for."""
    import cloudpickle
    import dask
    from distributed import Client, LocalCluster

    use_defaults(own_cluster=bool(cluster.scheduler))
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # we say what matters
    if cluster.scheduler:
        for module in (worker, forkserver, environment):
            cloudpickle.register_pickle_by_value(module)  # sent to workers, not imported there
        try:
            client = Client(_address(cluster.scheduler), set_as_default=False, timeout=30)
        except Exception as error:  # it answered a moment ago
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ClusterError(f"--scheduler {cluster.scheduler}: {reason}") from None
        with client:
            yield client
        return
    dask.config.set(
        {"distributed.admin.tick.limit": "1h", "distributed.worker.memory.target": False}
    )
    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=cluster.jobs,  # which only wait for the jobs' processes
            processes=False,
            resources={"GPU": count_gpus()} if cluster.gpus_per_job else {},
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
            memory_limit=0,
        ) as local,
        Client(local, set_as_default=False) as client,
    ):
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
    """Make the workers ready for the run.

    Raises
    ------
    ClusterError
        If they can't take part in it.
    """
    where = f"--scheduler {cluster.scheduler}"
    if link := dashboard(client, cluster):
        say(f"Dashboard: {link}")
    if not answers(client, cluster, runner.name):
        say("The scheduler has no workers yet; waiting for the first (Ctrl-C stops).")
    with asking():
        client.wait_for_workers(1)
        about = client.get_versions()
    ours = about["client"]["host"]["python"]
    others = {f"worker {address}": facts for address, facts in about["workers"].items()}
    for name, facts in {"the scheduler": about["scheduler"], **others}.items():
        theirs = facts["host"]["python"]
        if theirs.split(".")[:2] != ours.split(".")[:2]:  # the code we send needs the same
            raise ClusterError(f"{where}: {name} has Python {theirs}, expected {ours}")
    with asking():
        client.register_plugin(runner, name=runner.name)
    deadline = time.monotonic() + ANSWER_SECONDS
    while not (found := answers(client, cluster, runner.name)) or not all(found.values()):
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    fit = [address for address, answer in found.items() if answer.get("refusal") == ""]
    if not fit:
        answered = [item for item in found.items() if item[1]]
        address, answer = (answered or [*found.items(), ("none", {})])[0]
        why = answer.get("refusal", "does not answer")
        raise ClusterError(f"{where}: no worker is fit for it: {address} {why}")
    most = max(found[address]["gpus"] for address in fit)
    if most < cluster.gpus_per_job:
        raise ClusterError(
            f"--gpus-per-job {cluster.gpus_per_job}: no worker offers more than {most:g}; "
            "start workers with --resources GPU=<number>"
        )


@asking()
def answers(client: Client, cluster: Cluster, run_id: str) -> dict[str, dict]:
    """What each worker that is there says of a run, by address; empty if it has said nothing yet.

    Returns
    -------
    dict
        ``refusal`` and ``begun`` as in `utils.runner.worker.Runner`, as of some seconds ago, and
        what the scheduler knows: ``running``, ``threads`` and ``gpus``.
    """
    found = {}
    for address, about in client.scheduler_info(n_workers=-1).get("workers", {}).items():
        # The worker of this machine alone is this very process.
        own = {} if cluster.scheduler else {"refusal": "", "begun": []}
        if answer := about["metrics"].get(run_id, own):
            answer = {
                **answer,
                "running": about["status"] == "running",
                "threads": about["nthreads"],
                "gpus": about["resources"].get("GPU", 0),
            }
        found[address] = answer
    return found


@asking()
def dashboard(client: Client, cluster: Cluster) -> str:
    """The address of the scheduler's dashboard, if it opens from here, else an empty string."""
    services = client.scheduler_info(n_workers=0)["services"]
    if "dashboard" not in services:
        return ""
    # Ours listens to this machine alone, whatever address the machine has besides.
    here = f"http://127.0.0.1:{services['dashboard']}/status"
    link = client.dashboard_link if cluster.scheduler else here
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with suppress(OSError, ValueError), direct.open(link, timeout=3) as answer:
        return link if answer.status == 200 else ""
    return ""
