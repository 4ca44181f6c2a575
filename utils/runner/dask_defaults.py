"""Dask with its own defaults, whatever a user or a site has configured."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from unittest.mock import patch


def use_defaults(own_cluster: bool = False) -> None:
    """Import Dask, and undo what its configuration files and variables say.

    Call it before anything else imports Dask: a file that can't be read stops its import.

    Parameters
    ----------
    own_cluster : bool, default=False
        Of those files and variables take ``distributed.comm.tls`` and
        ``distributed.comm.require-encryption``, with which the user's own scheduler is reached.

    Raises
    ------
    ValueError
        If a file that is looked into for that can't be read.
    """
    variables = {name: text for name, text in os.environ.items() if not name.startswith("DASK_")}
    nowhere = dict.fromkeys(("HOME", "USERPROFILE", "DASK_ROOT_CONFIG"), os.devnull)
    with patch.dict(os.environ, variables | nowhere, clear=True):
        import dask.config
        import distributed  # noqa: F401 - adds its own defaults

    dask.config.refresh(paths=[], env={})
    if own_cluster:
        with warnings.catch_warnings(action="ignore"):  # of names that are no longer used
            try:
                given = dask.config.collect(_paths(), env=os.environ)
            except OSError as error:
                raise ValueError(f"{error.filename}: {error.strerror}") from None
        names = ("tls", "require-encryption")
        found = {n: dask.config.get(f"distributed.comm.{n}", None, config=given) for n in names}
        taken = {name: value for name, value in found.items() if value is not None}
        dask.config.update(dask.config.config, {"distributed": {"comm": taken}})


def _paths() -> list[str]:
    """Where Dask looks for configuration files; the last counts most."""
    machine, own = os.environ.get("DASK_ROOT_CONFIG", "/etc/dask"), os.environ.get("DASK_CONFIG")
    folders = (machine, Path(sys.prefix, "etc", "dask"), Path.home() / ".config" / "dask", own)
    return [str(folder) for folder in folders if folder]
