"""The templates' parameters, presets, and the settings that a user gives."""

from __future__ import annotations

import ast
import json
import re
import tokenize
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from utils.data.registry import DATASETS
from utils.plan.rules import KINDS, ParameterError, as_text, check, did_you_mean, variant_name

PRESETS: dict[str, tuple[str, dict[str, Any]]] = {
    "smoke": (
        "does everything run? 400 images, a few epochs, 2 points; the numbers mean nothing",
        {
            "n_images": 400, "epochs": 3, "retraining_epochs": 1, "points": 2, "accept_weak": True,
            "attack_steps": 3, "cw_steps": 10, "cw_binary_search_steps": 2,
            "point_images": 100, "point_steps": 2, "fresh_images": 100, "fresh_steps": 3,
            "fresh_targets": 1, "fresh_queries": 10, "fresh_searches": 1,
        },
    ),
    "quick": (
        "the default: at most 2,000 images, 10 points; minutes on a laptop",
        {"n_images": 2000, "epochs": 15, "retraining_epochs": 10, "points": 10},
    ),
    "reduced": (
        "the study's protocol on a stratified subset, 5 points; up to half an hour on two cores",
        {
            "n_images": 4000, "points": 5, "retraining_epochs": 10, "fresh_images": 500,
            "fresh_steps": 50, "fresh_restarts": 2, "fresh_targets": 5, "fresh_queries": 1000,
            "fresh_searches": 5,
        },
    ),
    "study": (
        "the paper's settings: every image, 20 points; hours to days of computing",
        {
            "n_images": 0, "points": 20, "fresh_images": 1000, "fresh_steps": 100,
            "fresh_restarts": 5, "fresh_targets": 9, "fresh_queries": 5000, "fresh_searches": 9,
        },
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Parameter:
    """One line of a template's parameters cell."""

    name: str
    type: type
    default: object
    help: str


def parse(name: str, text: str, kind: type) -> object:
    """Read a value of type `kind` from the command line's `text` and check it."""
    try:
        if kind is bool:
            value: object = {"true": True, "false": False}[text.lower()]
        elif kind is list:
            items = text.replace(",", " ").split()
            value = [int(i) if re.fullmatch(r"-?[0-9]+", i) else i for i in items]
        else:
            value = kind(text)
    except (ValueError, KeyError):
        raise ParameterError(f"{name}: got {text!r}, expected {KINDS[kind]}") from None
    return check(name, value, kind)


def template_parameters(template: Path) -> dict[str, Parameter]:
    """Read the parameters cell of a template: ``name: type = default  # help``, a line each.

    papermill's ``inspect_notebook`` reads the same lines, but importing papermill takes seconds,
    and the plan must not; a test holds the two equal.
    """
    cells = json.loads(template.read_text(encoding="utf-8"))["cells"]
    tagged = [c for c in cells if "parameters" in c["metadata"].get("tags", [])]
    if len(tagged) != 1:
        raise ValueError(
            f"{template.name}: expected one cell tagged 'parameters', got {len(tagged)}"
        )
    source = "".join(tagged[0]["source"])
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    kinds = {"bool": bool, "int": int, "float": float, "str": str, "list": list}
    found = {}
    for line in ast.parse(source).body:
        assert isinstance(line, ast.AnnAssign) and line.value and line.end_lineno, template.name
        name, kind = ast.unparse(line.target), kinds[ast.unparse(line.annotation)]
        default = ast.literal_eval(line.value)
        found[name] = Parameter(name, kind, default, comments.get(line.end_lineno, ""))
    return found


def all_parameters(templates: Iterable[Path]) -> dict[str, Parameter]:
    """The parameters of all templates by name; a name means the same in each of them."""
    return {name: p for template in templates for name, p in template_parameters(template).items()}


def parse_settings(
    texts: Iterable[str],
    known: Mapping[str, Parameter],
    own: Mapping[str, str],
    option: str = "--set",
) -> dict:
    """Read ``--set name=value`` texts.

    Parameters
    ----------
    texts : iterable of str
    known : mapping of str to Parameter
        From `all_parameters`.
    own : mapping of str to str
        Parameters that have an option of their own, and that option.
    option : str, default="--set"
        What they were given to, for messages.
    """
    values = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator:
            raise ParameterError(f"{option} {text}: expected name=value")
        if name in own:
            raise ParameterError(f"{option} {name}: use {own[name]} instead")
        if name not in known:
            raise ParameterError(
                f"{option} {name}: no template {'up to 3-4.1 ' if option == '--vary' else ''}has "
                f"this parameter{did_you_mean(name, known)}"
            )
        values[name] = parse(name, value, known[name].type)
    return values


def parse_variants(
    texts: Iterable[str], known: Mapping[str, Parameter], own: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Read ``--vary name=value,value`` texts, see `parse_settings`.

    Returns
    -------
    dict of str to dict
        Name of each variant, such as ``epsilon-0.1``, and the one setting it changes.
    """
    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        name, separator, values = text.partition("=")
        if not (separator and values):
            raise ParameterError(f"--vary {text}: expected name=value,value")
        if name in known and known[name].type is list:
            raise ParameterError(f"--vary {name}: it is a list; expected a parameter of one value")
        for value in values.split(","):
            changed = parse_settings([f"{name}={value}"], known, own, "--vary")
            variant = f"{name}-{as_text(changed[name])}"
            if variant_name(variant):
                raise ParameterError(
                    f"--vary {name}: got {value!r}, expected up to 50 letters, digits, '.', '_' "
                    "and '-', as it names a folder"
                )
            if variant in found:
                raise ParameterError(f"--vary {name}: got {value!r} twice, expected it once")
            found[variant] = changed
    return found


def settings(dataset: str, preset: str, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Values that replace the templates' defaults: the preset's, the data set's own, the user's."""
    entry = DATASETS.get(dataset)
    own = entry.presets.get(preset, {}) if entry else {}
    values = {**PRESETS[preset][1], **own}
    if chosen.get("own_model"):  # a preset's few epochs are no excuse for it
        values.pop("accept_weak", None)
    return {**values, **chosen}
