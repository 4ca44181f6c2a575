"""A kernel that runs a notebook and nothing else; imports nothing of the project."""

from __future__ import annotations

import sys

from ipykernel.kernelapp import IPKernelApp


class OwnKernel(IPKernelApp):
    """Takes its settings from its arguments alone."""

    def load_config_file(self, suppress_errors: bool | None = None) -> None:
        """Read no profile of the user's and no configuration of the site's."""

    def init_code(self) -> None:
        """Run no start-up files."""


if __name__ == "__main__":
    sys.argv[0] = "ipykernel_launcher"  # as in a kernel that was forked
    OwnKernel.launch_instance()
