"""Dask with its own defaults, whatever a user or a site has configured."""

from __future__ import annotations

import os
import warnings
from unittest.mock import patch


def use_defaults(own_cluster: bool = False) -> None:
    """Import Dask, and undo what its configuration files and variables say.

    Call it before anything else imports Dask: a file that can't be read stops its import, and
    where it looks for files is decided then.

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
    folders = ("HOME", "USERPROFILE", "DASK_ROOT_CONFIG", "DASK_CONFIG")
    nowhere = {} if own_cluster else dict.fromkeys(folders, os.devnull)
    with patch.dict(os.environ, nowhere), warnings.catch_warnings(action="ignore"):
        import dask.config
        import distributed  # noqa: F401 - adds its own defaults

        given = dask.config.collect() if own_cluster else {}  # warns of names no longer used

    dask.config.refresh(paths=[], env={})
    names = ("tls", "require-encryption")
    found = {n: dask.config.get(f"distributed.comm.{n}", None, config=given) for n in names}
    taken = {name: value for name, value in found.items() if value is not None}
    dask.config.update(dask.config.config, {"distributed": {"comm": taken}})
