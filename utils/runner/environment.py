"""What runs and their jobs take from the environment; all other settings are the project's own.

A variable of the user's or the site's that is not on the list does not reach them, and neither do
configuration files in the home or of the machine: libraries look for them where there are none.
This module is also sent to Dask workers, and so imports nothing but the standard library.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

TAKEN = frozenset({
    # who and where; what the terminal can show
    "HOME", "USER", "LOGNAME", "USERPROFILE", "SHELL", "LANG", "LANGUAGE", "TZ",
    "TERM", "COLORTERM", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES",
    # where programs, libraries, temporary files and caches lie
    "PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH",
    "CUDA_HOME", "CUDA_PATH", "TMPDIR", "TEMP", "TMP", "XDG_CACHE_HOME", "MPLCONFIGDIR",
    "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX",
    # what Windows itself needs
    "SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "PROGRAMDATA", "APPDATA",
    "LOCALAPPDATA", "NUMBER_OF_PROCESSORS",
    # the way to the network
    "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY",
    "http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
    # which GPUs there are, which processor, how much TensorFlow's log says
    "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "OPENBLAS_CORETYPE", "NVPL_BLAS_DEBUG_CPU_TYPE",
    "TF_CPP_MIN_LOG_LEVEL",
    # where the keys for a Dask cluster of the user's own are configured
    "DASK_CONFIG", "DASK_ROOT_CONFIG", "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION",
})  # fmt: skip
"""Variables that are taken over."""
TAKEN_PREFIXES = ("LC_", "KAGGLE", "DASK_DISTRIBUTED__COMM__TLS__")
"""All that start like this are, too."""

OWN = {
    "PYTHONUTF8": "1",
    "PYTHONHASHSEED": "0",
    "KERAS_HOME": os.devnull,  # where nothing can be, so that Keras writes no file either
    "KERAS_BACKEND": "tensorflow",
    "MATPLOTLIBRC": os.devnull,
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "JUPYTER_PREFER_ENV_PATH": "1",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",  # or the first job takes all of a GPU's memory
}
"""Variables that every process of a run has."""

_STARTED = "RUN_ALL_STARTED_OVER"


def cleaned(environment: Mapping[str, str]) -> dict[str, str]:
    """Of some variables those that are taken, and our own."""
    taken = {
        name: value
        for name, value in environment.items()
        if name in TAKEN or name.startswith(TAKEN_PREFIXES)
    }
    return {**taken, **OWN}


def empty_folders(folder: str | Path) -> dict[str, str]:
    """Variables by which IPython and Jupyter look for their settings below `folder`."""
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    return dict.fromkeys(names, str(Path(folder, "jupyter"))) | {
        "IPYTHONDIR": str(Path(folder, "ipython"))
    }


def start_over() -> None:
    """Replace this process by one that has `cleaned` variables, unless it has them already.

    Python itself reads some before any code runs, such as ``PYTHONWARNINGS``. Options of Python
    that were given on its command line are kept.
    """
    again = os.environ.pop(_STARTED, "") == str(os.getpid())
    clean = cleaned(os.environ)
    if clean == dict(os.environ):
        return
    if again or os.name != "posix":  # something sets variables whenever Python starts
        os.environ.clear()
        os.environ.update(clean)
        return
    mark = {_STARTED: str(os.getpid())}  # which stays the same
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], clean | mark)
