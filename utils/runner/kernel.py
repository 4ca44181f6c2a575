"""The kernels of batch runs: this interpreter's, whatever others are installed or configured."""

from __future__ import annotations

import sys
from contextlib import suppress
from multiprocessing.connection import Connection

import psutil
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import LocalProvisioner

from utils.runner import own_kernel

# Text that libraries write past Python, as TensorFlow's C++ does, is left to the process's own
# stderr, which is the job's log, instead of being captured into the notebook.
ARGUMENTS = ("--IPKernelApp.capture_fd_output=False", "--HistoryManager.enabled=False")


class ForkedKernel(psutil.Process):
    """A forked process that becomes a kernel once it has its arguments; used like a `Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int, arguments: Connection) -> None:
        super().__init__(pid)
        self.launch = arguments.send

    def poll(self) -> int | None:
        """Exit code, or None while the process runs."""
        with suppress(psutil.TimeoutExpired):
            return self.wait(timeout=0)
        return None

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        with suppress(psutil.NoSuchProcess):
            super().send_signal(number)


def kernel_manager(kernel: ForkedKernel | None) -> type[AsyncKernelManager]:
    """A kernel manager that runs this interpreter: in the process of `kernel`, or in a new one."""
    launcher = [sys.executable, "-P", own_kernel.__file__]  # -P: no modules from that folder

    class ForkedProvisioner(LocalProvisioner):
        async def launch_kernel(self, cmd: list[str], **_: object) -> dict:
            assert kernel is not None
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
