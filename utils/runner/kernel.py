"""The kernels of batch runs: this interpreter's, whatever others are installed or configured."""

from __future__ import annotations

import os
import signal
import sys
from multiprocessing.connection import Connection

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import LocalProvisioner

from utils.core.paths import ROOT

# Text that libraries write past Python, as TensorFlow's C++ does, is left to the process's own
# stderr, which is the job's log, instead of being captured into the notebook.
ARGUMENTS = ("--IPKernelApp.capture_fd_output=False", "--HistoryManager.enabled=False")


_START = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from utils.runner.own_kernel import launch; launch()"
)
"""Finds the project wherever the kernel is started."""


class ForkedKernel:
    """A forked process that becomes a kernel once told its arguments; else much like a `Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int, reader: Connection, writer: Connection) -> None:
        self.pid, self._writer = pid, writer
        self.returncode: int | None = None
        reader.close()  # the process's end

    def launch(self, arguments: list[str]) -> None:
        """Start the kernel."""
        self._writer.send(arguments)

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


def kernel_manager(kernel: ForkedKernel | None) -> type[AsyncKernelManager]:
    """A kernel manager that runs this interpreter: in the process of `kernel`, or in a new one."""
    launcher = [sys.executable, "-c", _START, str(ROOT)]

    class ForkedProvisioner(LocalProvisioner):
        async def launch_kernel(self, cmd: list[str], **_: object) -> dict:
            kernel.launch(cmd[len(launcher) :])
            self.process, self.pid, self.pgid = kernel, kernel.pid, kernel.pid
            return self.connection_info

    class OwnInterpreter(AsyncKernelManager):
        def __init__(self, **options: object) -> None:
            super().__init__(**options)
            if kernel:
                self.provisioner = ForkedProvisioner(kernel_spec=self.kernel_spec, parent=self)

        @property
        def kernel_spec(self) -> KernelSpec:
            argv = [*launcher, "-f", "{connection_file}", *ARGUMENTS]
            return KernelSpec(argv=argv, display_name="Python 3", language="python")

    return OwnInterpreter
