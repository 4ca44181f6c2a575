"""Finding raw images: what the user names, what is in the workspace, what can be downloaded."""

from __future__ import annotations

from pathlib import Path

from utils.core.paths import Workspace
from utils.data.raw import archives
from utils.data.raw.arrays import idx_files, read_idx, read_npz
from utils.data.raw.base import Options, Raw
from utils.data.raw.files import read_files
from utils.data.raw.folders import is_left_out
from utils.data.raw.names import is_image
from utils.data.raw.walking import walk


def locate(dataset: str, raw: str | Path, workspace: Workspace) -> Path | None:
    """The file or folder with the raw images of a data set, or None if there is none.

    Parameters
    ----------
    dataset : str
    raw : str or Path
        What the user named; a relative path is taken from the workspace's root. If empty,
        ``data/raw/<dataset>`` in the workspace is looked for: a folder, an archive or an .npz file.
    workspace : Workspace
    """
    if raw:
        return workspace.root / Path(raw).expanduser()
    folder = workspace.raw(dataset)
    files = [folder.with_name(folder.name + suffix) for suffix in (".npz", *archives.SUFFIXES)]
    empty = folder.is_dir() and not any(folder.iterdir())
    candidates = files if empty else [folder, *files]
    return next((path for path in candidates if path.exists()), folder if empty else None)


def open_raw(path: Path, options: Options = Options()) -> Raw:  # noqa: B008
    """List what is in a file or folder, by looking at it.

    Parameters
    ----------
    path : Path
    options : Options, optional
        What looking does not tell. Labels that are numbers already, in arrays, stay as they are.

    Raises
    ------
    ValueError
        If it is missing, damaged, or nothing of what is understood.
    """
    if not path.is_dir():
        archives.check_name(path)
    if not path.exists():
        raise ValueError(f"raw file {path}: not found; give the path of a folder or file")
    if path.is_dir():
        return _open_folder(path, options)
    if not path.is_file():  # to open it might wait forever
        raise ValueError(
            f"raw file {path}: expected a file or folder, got a device, pipe or socket"
        )
    if path.suffix.lower() == ".npz":
        return read_npz(path, options.white)
    if archives.is_archive(path):
        return read_files(path, options)
    if idx_files([path.name]):
        return _open_folder(path.parent, options)
    raise ValueError(
        f"raw file {path}: expected a folder, an .npz file, an IDX file or an archive "
        f"({', '.join(archives.SUFFIXES)})"
    )


def _open_folder(path: Path, options: Options) -> Raw:
    files, *_ = walk(path)
    files = [name for name in files if not is_left_out(f"{name}/", options.leave_out)]
    idx = idx_files(files)
    npz = [name for name in files if name.endswith(".npz")]
    images = [n for n in files if is_image(n) or (archives.is_archive(path / n) and "/" not in n)]
    kinds = [found[0] for found in (idx, npz, images) if found]
    if len(kinds) > 1 or len(npz) > 1:
        some = ", ".join(kinds if len(kinds) > 1 else npz[:3])
        raise ValueError(
            f"raw images {path}: holds several data sets, such as {some}; give the path of one"
        )
    if idx:
        return read_idx(path, idx, options.white)
    if npz:
        return read_npz(path / npz[0], options.white)
    foreign = [name for name in files if archives.FOREIGN.search(name)]
    if foreign and not any(map(is_image, files)):
        archives.check_name(path / foreign[0])
    return read_files(path, options)
