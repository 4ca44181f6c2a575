"""Starts jobs by forking a process that has the libraries loaded already.

Importing papermill, TensorFlow and the like takes eight seconds of processor time, for each job
and its kernel anew. The server imports them once and forks the process of each job and that of its
kernel, which do with them what they like. The project's own modules are not imported: every job
reads them from disk, as they are when it starts.

The fork server of `multiprocessing` can't take its place. It can't be used within a daemon, such as
a Dask worker with a nanny; no job could start before TensorFlow is loaded, though the first need
none; and what ``python -W error run_all.py`` is given would hold in the notebooks, too.

What breaks without the details below:

- A process with several threads that is forked may wait for ever for a lock that another thread
  held. So the server has one thread, and looks before each fork; a job's kernel is forked before
  the job itself starts threads.
- A forked process leaves by returning from `serve`, so that Python ends it as any other: else what
  libraries do at the end is not done, such as deleting their temporary files. What the server has
  imported is frozen: else its destruction takes each process two seconds.
- A forked process closes the server's ends of pipes. Else nobody would notice that the server has
  died, and its jobs would not be started again.
"""

from __future__ import annotations

import gc
import os
import pickle
import pkgutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from io import TextIOWrapper
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # not `paths.ROOT`: nothing else is imported

LIGHT = (
    "papermill", "nbconvert", "ipykernel.kernelapp", "matplotlib.pyplot", "pandas", "scipy.stats",
    "scipy.spatial", "sklearn.metrics", "seaborn", "pycountry", "threadpoolctl",
)  # fmt: skip
"""What jobs without a network import."""
NETWORK = ("tensorflow", "keras")
"""What the others import besides."""
ENERGY = ("codecarbon", "codecarbon.core.util:detect_cpu_model")
"""What measures energy; the function looks up the processor's name, which takes a second."""

_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Libraries read it while they are imported. A job's own number of threads is set after."""

_POLL_SECONDS = 0.05
_IDLE_SECONDS = 600
"""A server without processes ends after so long: its client may serve a run that has died."""


# --- the client's side ---


class Forked:
    """A process that the server has been asked to fork; `pid` is None until it has been."""

    def __init__(self, answers: Connection) -> None:
        self._answers = answers
        self.pid: int | None = None

    def started(self) -> int:
        """Its pid, once it has been forked; raises as `wait` does."""
        self.pid = self.pid or self._answer()
        return self.pid

    def wait(self) -> int:
        """Exit code, once the process has ended; negative for a signal, as in `subprocess`.

        Raises
        ------
        OSError
            If the server could not fork it, or has died, and the process with it. The job is to be
            started in the ordinary way.
        """
        self.started()
        return self._answer()

    def _answer(self) -> int:
        try:
            return self._answers.recv()
        except (EOFError, OSError):
            raise OSError("the fork server can't fork, or is gone") from None


class ForkServer:
    """A server process; it ends when it is closed, or with this process.

    Parameters
    ----------
    network : bool
        Whether some job needs TensorFlow. It is imported while the server has nothing else to do.
    environment : mapping, optional
        The server's environment variables; by default this process's.

    Raises
    ------
    OSError
        On systems where forking such a process is not known to be safe.
    """

    def __init__(self, network: bool, environment: Mapping[str, str] | None = None) -> None:
        if sys.platform != "linux":
            raise OSError("processes are forked on Linux only")
        self._requests, theirs = socket.socketpair()
        with theirs:
            command = ["-m", "utils.runner.forkserver", str(theirs.fileno()), str(int(network))]
            self._process = subprocess.Popen(
                [sys.executable, *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                cwd=ROOT,
                env={"TF_CPP_MIN_LOG_LEVEL": "3", **(environment or os.environ), **_THREADS},
                start_new_session=True,  # Ctrl-C is not for it
            )

    def start(
        self, message: bytes, log: str | Path, environment: Mapping[str, str], network: bool
    ) -> Forked:
        """Ask for a process that calls `utils.runner.execution.main` with `message`; does not wait.

        `message` is a pickled tuple; the pid of its parent and its kernel follow as arguments. Its
        output is appended to `log`, `environment` holds all its variables, and `network` says
        whether it needs TensorFlow. OSError is raised if the server is gone.
        """
        ours, theirs = Pipe()
        with theirs:
            socket.send_fds(self._requests, [b"."], [theirs.fileno()])
        ours.send((str(log), dict(environment), network, message))
        return Forked(ours)

    @property
    def alive(self) -> bool:
        """Whether the server is still there: it ends when nothing is asked of it for long."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the server, and so its processes."""
        self._process.kill()
        self._process.wait()
        self._requests.close()


# --- the server's side ---


def serve(requests: socket.socket, network: bool) -> int:
    """Import libraries and fork a process for each request, until the client is gone.

    Returns
    -------
    int
        Exit code of this process: the server, or one that it has forked.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # or its processes' exit codes would be lost
    # Where there is an NVIDIA GPU, CodeCarbon opens a connection to the driver on import, which
    # must not be forked.
    light = [*LIGHT, *(() if Path("/dev/nvidiactl").exists() else ENERGY)]
    pending = [*light, *(NETWORK if network else ())]
    clients: dict[int, Connection] = {}  # pid of a forked process -> who has asked for it
    while True:
        seconds = 0 if pending else _POLL_SECONDS if clients else _IDLE_SECONDS
        if wait([requests], seconds):
            _, fds, _, _ = socket.recv_fds(requests, 1, 1)
            if not fds:
                return 0  # the client is gone
            client = Connection(fds[0])
            log, environment, needs_network, message = client.recv()
            needed = {*light, *(NETWORK if needs_network else ())}
            for name in [name for name in pending if name in needed]:
                _load(name)
                pending.remove(name)
            server = os.getpid()
            pid = _fork()
            if pid == 0:
                requests.close()
                for inherited in (client, *clients.values()):
                    inherited.close()
                return _run_job(log, environment, message, server)
            if pid:
                clients[pid] = client
                client.send(pid)
            else:
                client.close()
        elif pending:
            _load(pending.pop(0))
        elif not clients:
            return 0
        for pid in list(clients):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                clients.pop(pid).send(os.waitstatus_to_exitcode(status))


def _load(name: str) -> None:
    with suppress(Exception):  # the job that needs it will say so
        found = pkgutil.resolve_name(name)
        if ":" in name:
            found()  # and keeps what it has found


def _fork() -> int | None:
    """As `os.fork`; None where it would not be safe, or there is no room for a process."""
    if len(os.listdir("/proc/self/task")) > 1:
        return None
    gc.freeze()
    sys.stdout.flush()  # or the new process would write it, too
    sys.stderr.flush()
    with suppress(OSError):
        return os.fork()
    return None


def _run_job(log: str, environment: Mapping[str, str], message: bytes, parent: int) -> int:
    """In the forked process: fork the job's kernel, then run the job."""
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.dup2(file, 1)
    os.dup2(file, 2)
    assert isinstance(sys.stdout, TextIOWrapper)  # a file, as this process was started
    sys.stdout.reconfigure(line_buffering=True)
    reader, writer = Pipe(duplex=False)
    own = os.getpid()
    kernel = os.fork()
    if kernel == 0:
        writer.close()
        return _become_kernel(reader, own)
    reader.close()
    from utils.runner.execution import main  # from disk, as it is now
    from utils.runner.kernel import ForkedKernel

    job, links, run_id, rule = pickle.loads(message)
    return main(job, links, run_id, rule, parent, ForkedKernel(kernel, writer))


def _become_kernel(reader: Connection, parent: int) -> int:
    """In a further process: wait for the arguments, then be a kernel."""
    os.setsid()
    try:
        arguments = reader.recv()
    except EOFError:  # the job ended without a need for it
        return 0
    import numpy as np
    from threadpoolctl import threadpool_limits

    from utils.runner.own_kernel import OwnKernel

    np.random.seed()  # noqa: NPY002 - or all kernels would draw the same numbers
    threadpool_limits(int(os.environ.get("OMP_NUM_THREADS", "1")))
    sys.argv = ["ipykernel_launcher", *arguments]
    if os.getppid() == parent:  # the job's process; a kernel ends when that does
        OwnKernel.launch_instance([*arguments, f"--IPKernelApp.parent_handle={parent}"])
    return 0


if __name__ == "__main__":
    sys.exit(serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2] == "1"))
