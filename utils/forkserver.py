"""Starts jobs by forking a process that has the libraries loaded already.

Importing papermill, TensorFlow and the like takes eight seconds of processor time, for each job
and its kernel anew. The server imports them once, runs nothing, and forks the process of each job
and that of its kernel: both are as fresh as started ones, since only libraries are loaded in them.
The project's own modules are not: every job reads them from disk, as they are when it starts.

A process with several threads can't be forked safely. The server keeps to one, which it checks
before each fork; where it can't fork, `ForkServer.start` raises OSError, and its user starts a
process in the ordinary way.
"""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

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
    "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # what a kernel sets before
}  # fmt: skip
"""What libraries read while they are imported. A job's own number of threads is set after."""

_POLL_SECONDS = 0.05


# --- the client's side ---


class Forked:
    """A process that the server has forked."""

    def __init__(self, pid: int, code: Future[int]) -> None:
        self.pid, self._code = pid, code

    def wait(self) -> int:
        """Exit code, once the process has ended; negative for a signal, as in `subprocess`."""
        return self._code.result()


class ForkServer:
    """A server process; it ends when it is closed, or with this process.

    Parameters
    ----------
    network : bool
        Whether some job needs TensorFlow. It is imported while the server has nothing else to do.

    Raises
    ------
    OSError
        On systems where forking such a process is not known to be safe.
    """

    def __init__(self, network: bool) -> None:
        if sys.platform != "linux":
            raise OSError("processes are forked on Linux only")
        self._connection, theirs = Pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "utils.forkserver", str(theirs.fileno()), str(int(network))],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()], cwd=ROOT, env={**os.environ, **_ENVIRONMENT},
            start_new_session=True,  # Ctrl-C is not for it
        )  # fmt: skip
        theirs.close()
        self._lock, self._count = threading.Lock(), 0
        self._started: dict[int, Future[int]] = {}
        self._ended: dict[int, Future[int]] = {}
        threading.Thread(target=self._listen, daemon=True, name="fork server").start()

    def start(
        self, message: object, log: str | Path, environment: Mapping[str, str], network: bool
    ) -> Forked:
        """Fork a process that calls ``utils.execution.main(message, kernel)``.

        Parameters
        ----------
        message : object
            Anything that can be pickled.
        log : path
            File that its standard output and error are appended to.
        environment : mapping
            Its environment variables, all of them.
        network : bool
            Whether it needs TensorFlow.

        Raises
        ------
        OSError
            If the server can't fork, or is gone.
        """
        started, ended = Future(), Future()
        request = str(log), dict(environment), network, pickle.dumps(message)
        with self._lock:
            self._count += 1
            self._started[self._count], self._ended[self._count] = started, ended
            self._connection.send((self._count, *request))
        return Forked(started.result(), ended)

    def close(self) -> None:
        """End the server; nobody may wait for its processes any more."""
        self._process.terminate()
        self._process.wait()

    def _listen(self) -> None:
        """Hand on what the server says: a process has started (its pid) or ended (its code)."""
        with suppress(EOFError, OSError):
            while True:
                number, event, value = self._connection.recv()
                waiting = self._started if event == "started" else self._ended
                if value is None:
                    waiting.pop(number).set_exception(OSError("the fork server can't fork"))
                else:
                    waiting.pop(number).set_result(value)
        with self._lock:
            self._connection.close()  # whoever sends from now on gets an OSError
            for future in self._started.values():
                future.set_exception(OSError("the fork server is gone"))
            for future in self._ended.values():
                future.set_result(-signal.SIGKILL)  # its processes end with it


# --- the server's side ---


def main(connection: Connection, network: bool) -> None:
    """Import libraries and fork a process for each request, until the client is gone."""
    pending = [*LIGHT, *(NETWORK if network else ()), PROCESSOR]
    numbers: dict[int, int] = {}
    while True:
        if connection.poll(0 if pending else _POLL_SECONDS):
            number, log, environment, needs_network, message = connection.recv()
            needed = {*LIGHT, *(NETWORK if needs_network else ())}
            for name in [name for name in pending if name in needed]:
                _load(name)
                pending.remove(name)
            pid = _fork()
            if pid == 0:
                connection.close()
                _run_job(log, environment, message)
            if pid:
                numbers[pid] = number
            connection.send((number, "started", pid))
        elif pending:
            _load(pending.pop(0))
        for pid, code in _ended():
            connection.send((numbers.pop(pid), "ended", code))


def _load(name: str) -> None:
    with suppress(Exception):  # the job that needs it will say so
        if name == PROCESSOR:
            from codecarbon.core.util import detect_cpu_model

            detect_cpu_model()  # which keeps what it finds
        else:
            importlib.import_module(name)


def _fork() -> int | None:
    """As `os.fork`; None where it would not be safe, or there is no room for a process."""
    if len(os.listdir("/proc/self/task")) > 1:
        return None
    with suppress(OSError):
        return os.fork()


def _ended() -> list[tuple[int, int]]:
    """Processes that have ended since the last call, with their exit codes."""
    found = []
    with suppress(ChildProcessError):  # there are none at all
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            found.append((ended[0], os.waitstatus_to_exitcode(ended[1])))
    return found


def _run_job(log: str, environment: Mapping[str, str], message: bytes) -> None:
    """In the forked process: fork the job's kernel, then run the job; never returns."""
    code = 1
    try:
        os.setsid()
        os.environ.clear()
        os.environ.update(environment)
        file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.stdout.reconfigure(line_buffering=True)
        kernel = ForkedKernel()
        from utils.execution import main as run  # from disk, as it is now

        code = run(pickle.loads(message), kernel)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


class ForkedKernel:
    """A process that becomes a kernel once it is told its command; else much like a `Popen`."""

    stdin = stdout = stderr = None

    def __init__(self) -> None:
        reader, self._writer = Pipe(duplex=False)
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            self._writer.close()
            _become_kernel(reader)
        reader.close()

    def launch(self, command: list[str]) -> None:
        """Start the kernel with the arguments of this command line."""
        self._writer.send(command[command.index("ipykernel_launcher") + 1 :])

    def poll(self) -> int | None:
        """Exit code, or None while the process runs."""
        return self._wait(os.WNOHANG)

    def wait(self) -> int:
        """Exit code, once the process has ended."""
        return self._wait(0)

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _wait(self, options: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode


def _become_kernel(reader: Connection) -> None:
    """In the forked process: wait for the arguments, then be a kernel; never returns."""
    code = 1
    try:
        os.setsid()
        arguments = reader.recv()
        import numpy as np
        from ipykernel.kernelapp import IPKernelApp
        from threadpoolctl import threadpool_limits

        np.random.seed()  # noqa: NPY002 - or all kernels would draw the same numbers
        threadpool_limits(int(os.environ.get("OMP_NUM_THREADS", "1")))
        # The job's process is the parent; a kernel ends when its parent does.
        IPKernelApp.launch_instance([*arguments, f"--IPKernelApp.parent_handle={os.getppid()}"])
        code = 0
    except EOFError:  # the job ended without a need for it
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    with suppress(EOFError, OSError):  # the client is gone
        main(Connection(int(sys.argv[1])), sys.argv[2] == "1")
