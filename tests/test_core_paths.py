"""Paths and writing whole or not at all."""

from __future__ import annotations

import pytest

from utils.core.files import atomic
from utils.core.paths import ROOT, Workspace


def test_root_is_the_checkout_and_seeds_are_apart(tmp_path):
    assert Workspace().root == ROOT
    workspace = Workspace(tmp_path)
    assert Workspace(workspace.parameter).root == workspace.root
    assert Workspace("build/x").parameter == "build/x" and Workspace().parameter == "."
    assert workspace.metrics("digits", 0) != workspace.metrics("digits", 1)
    assert (
        workspace.relative(workspace.results("digits", 1, 2))
        == "reports/digits/seed-1/digits_c2_results.csv"
    )


def test_a_variant_knows_its_run(tmp_path):
    workspace = Workspace(tmp_path)
    variant = workspace.variant("epsilon-0.1")
    assert variant.base.root == workspace.root and workspace.base is None
    assert Workspace(variant.parameter).base.root == workspace.root  # as templates make it
    assert variant.raw("mine") == workspace.raw("mine") and variant.data("mine") != workspace.data(
        "mine"
    )
    assert Workspace("/").base is None


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with atomic(path) as temporary:
        temporary.write_text("old")
    with pytest.raises(RuntimeError), atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]
