"""Dask with its own defaults, whatever a user or a site has configured."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
    with _no_home():
        import dask.config
        import distributed  # noqa: F401 - adds its own defaults

    dask.config.refresh(paths=[], env={})
    if own_cluster:
        taken = {}
        with warnings.catch_warnings(action="ignore"):  # of names that are no longer used
            try:
                given = dask.config.collect(_paths(), env=os.environ)
            except OSError as error:
                raise ValueError(f"{error.filename}: {error.strerror}") from None
        for name in ("tls", "require-encryption"):
            value = dask.config.get(f"distributed.comm.{name}", None, config=given)
            if value is not None:
                taken[name] = value
        dask.config.update(dask.config.config, {"distributed": {"comm": taken}})


def _paths() -> list[str]:
    """Where Dask looks for configuration files; the last counts most."""
    places = [
        os.environ.get("DASK_ROOT_CONFIG", "/etc/dask"),
        Path(sys.prefix, "etc", "dask"),
        Path.home() / ".config" / "dask",
        os.environ.get("DASK_CONFIG"),
    ]
    return [str(place) for place in places if place]


@contextmanager
def _no_home() -> Iterator[None]:
    """A context in which no configuration is found in the home or at the machine's place."""
    kept = dict(os.environ)
    for name in [name for name in kept if name.startswith("DASK_")]:
        del os.environ[name]
    os.environ.update(dict.fromkeys(("HOME", "USERPROFILE", "DASK_ROOT_CONFIG"), os.devnull))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)
