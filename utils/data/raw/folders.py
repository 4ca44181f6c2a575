"""Trees of folders with images."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from utils.data.raw.names import part_of

NONE = "none"
"""In `leave_out`: no folder is left out for its name, and none is doubted."""


@dataclass
class Folder:
    """A folder with images somewhere below it."""

    path: str
    images: list[str] = field(default_factory=list)
    """Paths of those in it."""
    folders: dict[str, Folder] = field(default_factory=dict)

    def below(self) -> list[str]:
        """Paths of all images in it and below."""
        return [*self.images, *(n for folder in self.folders.values() for n in folder.below())]


def as_given(name: object) -> str:
    """A name as it is compared: the command line separates names by spaces."""
    return str(name).strip("/").lower().replace(" ", "_").replace(",", "_")


def is_left_out(name: str, leave_out: Collection[str]) -> bool:
    """Whether a folder above a file is among those that the user leaves out, by name or path."""
    folders = [as_given(folder) for folder in name.split("/")[:-1]]
    paths = {"/".join(folders[:n]) for n in range(1, len(folders) + 1)}
    return not ({*folders} | paths).isdisjoint(map(as_given, leave_out))


def tree(names: Iterable[str]) -> Folder:
    """The folders of some paths."""
    top = Folder("")
    for name in sorted(names):
        folder = top
        for part in name.split("/")[:-1]:
            path = f"{folder.path}/{part}".lstrip("/")
            folder = folder.folders.setdefault(part, Folder(path))
        folder.images.append(name)
    return top


def open_class(folder: Folder) -> Folder:
    """``<class>/images/train``: go into folders that are alone, unless they are a part."""
    while len(folder.folders) == 1 and not folder.images:
        ((name, inside),) = folder.folders.items()
        if part_of(name).part or not inside.folders:
            break
        folder = inside
    return folder
