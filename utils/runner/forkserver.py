"""Starts jobs by forking a process that has the libraries loaded already.

Importing papermill, TensorFlow and the like takes eight seconds of processor time, for each job
and its kernel anew. The server imports them once and forks the process of each job and that of its
kernel, which do with them what they like. The project's own modules are not imported: every job
reads them from disk, as they are when it starts.

A process with several threads can't be forked safely. The server keeps to one, and checks that
before each fork. (The fork server of `multiprocessing` imports all before its first fork, runs
the main module again in each process, and can't be used within a daemon, such as a Dask worker.)
Where the server can't fork, or has died, `Forked.wait` raises OSError, and a job is to be started
in the ordinary way.
"""

from __future__ import annotations

import atexit
import importlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]  # not `paths.ROOT`: nothing else is imported

LIGHT = (
    "papermill", "nbconvert", "ipykernel.kernelapp", "matplotlib.pyplot", "pandas", "scipy.stats",
    "scipy.spatial", "sklearn.metrics", "seaborn", "codecarbon", "pycountry", "threadpoolctl",
)  # fmt: skip
"""What jobs without a network import."""
NETWORK = ("tensorflow", "keras")
"""What the others import besides."""
PROCESSOR = "the processor's name"
"""What CodeCarbon looks up once a process; it takes a second."""

_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
    "KERAS_BACKEND": "tensorflow", "MPLBACKEND": "module://matplotlib_inline.backend_inline",
}  # fmt: skip
"""What libraries read while they are imported. A job's own number of threads is set after."""

_POLL_SECONDS = 0.05
_IDLE_SECONDS = 600
"""A server without processes ends after so long: its client may serve a run that has died."""


# --- the client's side ---


class Forked:
    """A process that the server has been asked to fork."""

    def __init__(self) -> None:
        self.started: Future[int] = Future()
        self.ended: Future[int] = Future()

    @property
    def pid(self) -> int | None:
        """None if it has not been forked, or not yet."""
        done = self.started.done() and not self.started.exception()
        return self.started.result() if done else None

    def wait(self) -> int:
        """Exit code, once the process has ended; negative for a signal, as in `subprocess`.

        Raises
        ------
        OSError
            If the server could not fork it, or has died, and the process with it.
        """
        self.started.result()
        return self.ended.result()


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
        self._connection, theirs = Pipe()
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "utils.runner.forkserver",
                str(theirs.fileno()),
                str(int(network)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            cwd=ROOT,
            env={"TF_CPP_MIN_LOG_LEVEL": "3", **(environment or os.environ), **_ENVIRONMENT},
            start_new_session=True,  # Ctrl-C is not for it
        )
        theirs.close()
        self._lock, self._count = threading.Lock(), 0
        self._forked: dict[int, Forked] = {}
        threading.Thread(target=self._listen, daemon=True, name="fork server").start()

    def start(
        self, message: bytes, log: str | Path, environment: Mapping[str, str], network: bool
    ) -> Forked:
        """Ask for a process that calls `utils.runner.execution.main` with `message`; does not wait.

        Parameters
        ----------
        message : bytes
            A pickled tuple; the pid of its parent and its kernel follow as arguments.
        log : path
            File that its standard output and error are appended to.
        environment : mapping
            Its environment variables, all of them.
        network : bool
            Whether it needs TensorFlow.

        Raises
        ------
        OSError
            If the server is gone.
        """
        request = str(log), dict(environment), network, message
        with self._lock:
            self._count += 1
            self._connection.send((self._count, *request))
            forked = self._forked[self._count] = Forked()
        return forked

    @property
    def alive(self) -> bool:
        """Whether the server is still there: it ends when nothing is asked of it for long."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the server, and so its processes."""
        self._process.kill()
        self._process.wait()

    def _listen(self) -> None:
        """Hand on what the server says: a process has started (its pid) or ended (its code)."""
        try:
            while True:
                number, event, value = self._connection.recv()
                with self._lock:  # so that `start` has put down what it asked for
                    forked = self._forked[number]
                if event == "ended":
                    del self._forked[number]
                    forked.ended.set_result(value)
                elif value is None:
                    del self._forked[number]
                    forked.started.set_exception(OSError("the fork server can't fork"))
                else:
                    forked.started.set_result(value)
        except (EOFError, OSError):  # it is gone
            pass
        finally:
            with self._lock:
                self._connection.close()  # whoever sends from now on gets an OSError
                for forked in self._forked.values():
                    future = forked.ended if forked.started.done() else forked.started
                    future.set_exception(OSError("the fork server is gone"))


# --- the server's side ---


def main(connection: Connection, network: bool) -> None:
    """Import libraries and fork a process for each request, until the client is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # or its processes' exit codes would be lost
    light = [name for name in LIGHT if name != "codecarbon" or not _has_nvidia_gpu()]
    pending = [*light, *(NETWORK if network else ()), PROCESSOR]
    numbers: dict[int, int] = {}
    busy = time.monotonic()
    while time.monotonic() - busy < _IDLE_SECONDS:
        if numbers or pending:
            busy = time.monotonic()
        if connection.poll(0 if pending else _POLL_SECONDS):
            number, log, environment, needs_network, message = connection.recv()
            needed = {*light, *(NETWORK if needs_network else ())}
            for name in [name for name in pending if name in needed]:
                _load(name)
                pending.remove(name)
            parent = os.getpid()
            pid = _fork()
            if pid == 0:
                _end_with(_run_job, connection, log, environment, message, parent)
            if pid:
                numbers[pid] = number
            connection.send((number, "started", pid))
        elif pending:
            _load(pending.pop(0))
        for pid in list(numbers):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
                connection.send((numbers.pop(pid), "ended", code))


def _has_nvidia_gpu() -> bool:
    """Then CodeCarbon opens a connection to the driver on import, which must not be forked."""
    return Path("/dev/nvidiactl").exists()


def _load(name: str) -> None:
    with suppress(Exception):  # the job that needs it will say so
        if name != PROCESSOR:
            importlib.import_module(name)
        elif not _has_nvidia_gpu():
            from codecarbon.core.util import detect_cpu_model

            detect_cpu_model()  # which keeps what it finds


def _fork() -> int | None:
    """As `os.fork`; None where it would not be safe, or there is no room for a process."""
    if len(os.listdir("/proc/self/task")) > 1:
        return None
    sys.stdout.flush()  # or the new process would write it, too
    sys.stderr.flush()
    with suppress(OSError):
        return os.fork()


def _end_with(work: Callable[..., int], *arguments: object) -> NoReturn:
    """Run `work` in a forked process and end it: its result, or 1 after an error, is its code."""
    code = 1
    try:
        try:
            code = work(*arguments)
        except BaseException:
            traceback.print_exc()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _run_job(
    connection: Connection, log: str, environment: Mapping[str, str], message: bytes, parent: int
) -> int:
    """In the forked process: fork the job's kernel, then run the job."""
    os.setsid()
    connection.close()
    os.environ.clear()
    os.environ.update(environment)
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.stdout.reconfigure(line_buffering=True)
    pipe = Pipe(duplex=False)
    own = os.getpid()
    kernel = os.fork()
    if kernel == 0:
        _end_with(_become_kernel, *pipe, own)
    from utils.runner.execution import main as run  # from disk, as it is now
    from utils.runner.kernel import ForkedKernel

    return run(*pickle.loads(message), parent, ForkedKernel(kernel, *pipe))


def _become_kernel(reader: Connection, writer: Connection, parent: int) -> int:
    """In a further process: wait for the arguments, then be a kernel."""
    os.setsid()
    writer.close()
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
    with suppress(EOFError, OSError):  # the client is gone
        main(Connection(int(sys.argv[1])), sys.argv[2] == "1")
