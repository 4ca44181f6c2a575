"""The orders in which folders of classes are numbered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def ordered_classes(class_names: Iterable[str], class_order: str = "number") -> list[str]:
    """Names of classes in the order of their numbers.

    Parameters
    ----------
    class_names : iterable of str
    class_order : str, default="number"
        By "number", 2 comes before 10, and numbers before words. As "text", 10 comes before 2: so
        Keras's and PyTorch's loaders of folders number classes. Else all names, separated by
        commas.

    Raises
    ------
    ValueError
        If some other names are listed.
    """
    names = sorted(class_names, key=_number_first)
    if class_order == "number":
        return names
    if class_order == "text":
        return sorted(names)
    given = [name.strip() for name in class_order.split(",")]
    if sorted(given) != sorted(names):
        raise ValueError(
            f"class_order: got {class_order!r}, expected number, text, or each of the classes "
            f"once: {','.join(names)}"
        )
    return given


def _number_first(name: str) -> tuple[int, int, str]:
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)


def orders_of(class_folders: Sequence[str], n_classes: int) -> dict[str, list[int]]:
    """The orders in which loaders of folders number classes, the present one first.

    Parameters
    ----------
    class_folders : sequence of str
        Names of the classes' folders; empty where labels are numbers in a file.
    n_classes : int

    Returns
    -------
    dict of str to list of int
        Its name (see `ordered_classes`) and, for each number that a network
        trained in it gives, the label here.
    """
    if not class_folders:
        return {"number": list(range(n_classes))}
    present = list(class_folders)
    found = {name: ordered_classes(present, name) for name in ("number", "text")}
    name = next((name for name, order in found.items() if order == present), ",".join(present))
    orders = {name: present} | {n: o for n, o in found.items() if o != present}
    return {name: [present.index(folder) for folder in order] for name, order in orders.items()}
