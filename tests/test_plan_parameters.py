"""Types, ranges, presets, and that the templates and the rules agree."""

from __future__ import annotations

import ast

import papermill
import pytest

from utils.plan.parameters import (
    PRESETS,
    all_parameters,
    parse,
    parse_settings,
    parse_variants,
    settings,
    template_parameters,
)
from utils.plan.rules import RULES, ParameterError, check
from utils.plan.steps import STEPS

KNOWN = all_parameters(step.path for step in STEPS)


def test_every_parameter_has_a_rule_and_every_rule_a_parameter():
    assert set(KNOWN) == set(RULES)


@pytest.mark.parametrize("step", STEPS, ids=lambda s: s.id)
def test_the_cell_is_read_as_papermill_reads_it(step):
    theirs = papermill.inspect_notebook(str(step.path))
    ours = template_parameters(step.path)
    assert list(ours) == list(theirs)
    for name, parameter in ours.items():
        assert parameter.type.__name__ == theirs[name]["inferred_type_name"]
        assert parameter.default == ast.literal_eval(theirs[name]["default"])
        assert parameter.help == theirs[name]["help"]


@pytest.mark.parametrize("step", STEPS, ids=lambda s: s.id)
def test_defaults_keep_the_rules_and_mean_the_same_everywhere(step):
    for name, parameter in template_parameters(step.path).items():
        check(name, parameter.default, parameter.type)
        assert (parameter.type, parameter.default) == (KNOWN[name].type, KNOWN[name].default)


def test_the_default_preset_is_what_the_templates_do():
    for name, value in PRESETS["quick"][1].items():
        assert KNOWN[name].default == value


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_keep_the_rules(preset):
    for name, value in settings("digits", preset, {}).items():
        check(name, value, KNOWN[name].type)


def test_what_the_user_sets_wins():
    assert settings("digits", "smoke", {"points": 7})["points"] == 7


@pytest.mark.parametrize(
    ("text", "value"),
    [("epsilon=0.1", 0.1), ("points=20", 20), ("epsilon=1", 1.0), ("layer=dense", "dense"),
     ("layer=a=b", "a=b")],
)  # fmt: skip
def test_values_are_read_by_their_type(text, value):
    assert parse_settings([text], KNOWN, {}) == {text.split("=")[0]: value}


def test_lists_are_read():
    assert parse("metrics", "dsa nc", list) == ["dsa", "nc"]
    assert parse("seeds", "0,1", list) == [0, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epsilon", "expected name=value"),
        ("epsilonn=1", "no template has this parameter, did you mean 'epsilon'?"),
        ("metrics=nc", "use --metrics instead"),
        ("points=many", "points: got 'many', expected a whole number"),
        ("points=2.5", "expected a whole number"),
        ("points=0", "points: got 0, expected at least 1"),
        ("epsilon=-0.1", "more than 0 and at most 1"),
        ("epsilon=0", "more than 0 and at most 1"),
        ("epsilon=1.5", "more than 0 and at most 1"),
        ("epsilon=nan", "expected a finite number"),
        ("learning_rate=0", "more than 0"),
        ("epochs=0", "epochs: got 0, expected at least 1"),
        ("split_seed=-1", "at least 0"),
        ("keep_models=bets", "did you mean 'best'?"),
        ("country=Spain", "three-letter"),
        ("nc_threshold=2", "below 1"),
    ],
)
def test_bad_values_are_explained(text, message):
    with pytest.raises(ParameterError) as error:
        parse_settings([text], KNOWN, {"metrics": "--metrics"})
    assert message in str(error.value) and "\n" not in str(error.value)


def test_variants_change_one_setting_each():
    found = parse_variants(["epsilon=0.1,2e-1", "layer=conv_1", "epsilon=0.3"], KNOWN, {})
    assert found == {
        "epsilon-0.1": {"epsilon": 0.1},
        "epsilon-0.2": {"epsilon": 0.2},
        "layer-conv_1": {"layer": "conv_1"},
        "epsilon-0.3": {"epsilon": 0.3},
    }
    for name in found:
        assert check("variants", [name], list) == [name]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epsilon", "expected name=value,value"),
        ("epsilon=", "expected name=value,value"),
        ("epsilon=0.1,", "epsilon: got '', expected a number"),
        ("epsilon=0.1,0.10", "got '0.10' twice"),
        ("metrics=nc,dsa", "it is a list"),
        ("layer=../up", "letters, digits"),
        ("layer=" + "a" * 51, "up to 50 letters"),
        ("layer=", "expected name=value,value"),
        ("epsilo=1", "did you mean 'epsilon'?"),
        ("seed=1", "use --seeds instead"),
    ],
)
def test_bad_variants_are_explained(text, message):
    with pytest.raises(ParameterError) as error:
        parse_variants([text], KNOWN, {"seed": "--seeds"})
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("variants", ["epsilon"], "a parameter, '-' and a value"),
        ("variants", ["epsilon-../.."], "a parameter, '-' and a value"),
        ("metrics", [], "at least one value"),
        ("metrics", ["nc", "nc"], "each value once"),
        ("metrics", ["dsaa"], "did you mean 'dsa'?"),
        ("attacks", ["fsgm"], "did you mean 'fgsm'?"),
        ("configurations", [6], "one of 1, 2, 3, 4, 5"),
        ("seeds", [-1], "at least 0"),
        ("seeds", ["a"], "int values only"),
        ("datasets", ["../up"], "letters, digits"),
        ("datasets", ["raw"], "not 'raw'"),
        ("datasets", ["variants"], "not 'raw', 'variants'"),
        ("metrics", "nc", "expected a list"),
    ],
)
def test_bad_lists_are_explained(name, value, message):
    with pytest.raises(ParameterError) as error:
        check(name, value, list)
    assert message in str(error.value)
