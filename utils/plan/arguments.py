"""Arguments of the command line, each checked by itself before anything is planned."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from utils.core.paths import Workspace
from utils.data.registry import DATASETS, is_local
from utils.plan.parameters import PRESETS
from utils.plan.rules import ParameterError, did_you_mean, is_text


def whole_numbers(name: str, words: Iterable[str]) -> list[int]:
    """Numbers from the command line."""
    words = list(words)
    for word in words:
        if not re.fullmatch(r"-?[0-9]{1,18}", word):
            raise ParameterError(f"{name}: got {word!r}, expected whole numbers")
    return [int(word) for word in words]


def number(name: str, word: str, low: int, high: int) -> int:
    """One whole number from the command line."""
    (value,) = whole_numbers(name, [word])
    if not low <= value <= high:
        raise ParameterError(f"{name}: got {value}, expected {low} to {high}")
    return value


def paths_of(
    option: str, texts: Iterable[str], datasets: list[str], unnamed: bool = False
) -> dict[str, str]:
    """``NAME=PATH`` texts as a mapping of names to absolute paths.

    With `unnamed`, a path alone will do where there is only one data set. A path with a "=" in it
    is one if there is such a file, and what is before the "=" is no data set.
    """
    found = {}
    for text in texts:
        name, separator, path = text.partition("=")
        if unnamed and len(datasets) == 1:
            is_file = separator and _is_file(text)
            if is_file and name in datasets:
                raise ParameterError(
                    f"{option} {text}: is the name of a file, and means {path} for {name}, too; "
                    f"write {option} {name}=./{text} or {option} {name}=./{path}"
                )
            if is_file or not separator:
                name, separator, path = datasets[0], "=", text
        if not (separator and path):
            raise ParameterError(f"{option} {text}: expected NAME=PATH")
        if name not in datasets:
            raise ParameterError(
                f"{option} {name}: not among --datasets, which are {' '.join(datasets)}"
                f"{did_you_mean(name, datasets) or '; add it there'}"
            )
        if name in found:
            raise ParameterError(f"{option} {name}: given twice")
        found[name] = str(path_of(f"{option} {name}", path))
    return found


def _is_file(text: str) -> bool:
    """Whether a text from the command line is the path of a file."""
    try:
        return Path(text).expanduser().is_file()
    except (OSError, RuntimeError, ValueError):  # see `path_of`
        return False


def path_of(option: str, text: str) -> Path:
    """An absolute path from the command line, which need not exist."""
    try:
        path = Path(text).expanduser().resolve()
        with suppress(FileNotFoundError, NotADirectoryError):
            path.stat()  # or its name is too long, or a folder above it may not be read
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: no such user, or a loop
        reason = getattr(error, "strerror", None) or error
        raise ParameterError(f"{option}: got {text!r}, expected a path ({reason})") from None
    if not is_text(str(path)):
        raise ParameterError(f"{option}: got {str(path)!r}, which is no UTF-8 text; rename it")
    return path


def names(datasets: Iterable[str], raw: Mapping[str, str], workspace: Workspace) -> None:
    """Data sets must be known or brought by the user."""
    for name in datasets:
        made = (workspace.data(name) / "dataset.json").exists()
        if not (name in DATASETS or made or is_local(name, raw.get(name, ""), workspace)):
            known = ", ".join(DATASETS)
            raise ParameterError(
                f"--datasets: got {name!r}, expected one of {known}{did_you_mean(name, DATASETS)}; "
                f"bring your own with --raw {name}=PATH"
            )


def preset(name: str) -> None:
    """The preset must exist."""
    if name not in PRESETS:
        known = ", ".join(PRESETS)
        raise ParameterError(
            f"--preset: got {name!r}, expected one of {known}{did_you_mean(name, PRESETS)}"
        )


def writable(workspace: Workspace) -> None:
    """The workspace must be a folder that can be written to; the trial leaves nothing behind."""
    if workspace.base:
        raise ParameterError(
            f"--workspace {workspace.root}: is for a variant of the run in {workspace.base.root}; "
            "use that with --vary, or choose another folder"
        )
    made = []
    try:
        for folder in (
            workspace.root,
            *(workspace.root / n for n in ("data", "models", "reports")),
        ):
            made += [p for p in [folder, *folder.parents] if not p.exists()]
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
    except OSError as error:
        raise ParameterError(
            f"--workspace {workspace.root}: cannot write there ({error.strerror}); "
            "choose another folder"
        ) from None
    finally:
        for folder in sorted(made, reverse=True):  # the deepest first
            with suppress(OSError):
                folder.rmdir()
