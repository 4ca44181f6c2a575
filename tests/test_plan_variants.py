"""The run's own value of a varied setting, from the records of the jobs that are compared."""

import pytest

from utils.core.files import write_json
from utils.core.paths import Workspace
from utils.plan.steps import STEPS
from utils.plan.variants import value_in_run


def record(workspace, step, parameters, dataset="digits", seed=0, configuration=2):
    """A job's record, where `utils.runner.execution` writes it."""
    step = next(s for s in STEPS if s.id == step)
    folder = workspace.reports(dataset, seed if "seed" in step.per else None)
    name = step.copy.format(d=dataset, c=configuration)
    folder.mkdir(parents=True, exist_ok=True)
    about = {"name": name, "step": step.id, "dataset": dataset, "state": "done"}
    write_json(folder / f"{name}.json", {**about, "parameters": parameters})


@pytest.fixture
def run(tmp_path):
    """A run of two configurations, with traces of others in the same workspace."""
    workspace = Workspace(tmp_path)
    record(workspace, "0.0", {"n_images": 500})
    record(workspace, "0.1", {"epochs": 15, "batch_size": 64, "learning_rate": 0.001})
    record(workspace, "1.1", {"epsilon": 0.05, "attacks": ["fgsm", "cw"]})
    record(workspace, "2.1", {"layer": "", "metrics": ["dsa"]})
    for c in (1, 2):
        record(
            workspace,
            "3-4.1",
            {"points": 10, "retraining_epochs": 4, "batch_size": 64, "learning_rate": 0.001},
            configuration=c,
        )
    # a later step has a value of its own, and so have other files, runs and data sets
    record(workspace, "4.2", {"epsilon": 0.3, "seed": 0})
    record(workspace, "5.1", {"points": 99}, seed=0)
    write_json(
        workspace.results("digits", 0, 2).with_suffix(".json"),
        {"parameters": {"epochs": 4, "points": 98, "batch_size": 1}},
    )
    write_json(
        workspace.reports("digits", 0) / "z.json", {"parameters": {"epsilon": 9, "layer": "z"}}
    )
    record(workspace, "3-4.1", {"points": 7}, configuration=3)
    record(workspace, "3-4.1", {"points": 8}, seed=1)
    record(workspace, "1.1", {"epsilon": 0.4}, seed=1)
    record(workspace, "1.1", {"epsilon": 0.5}, dataset="mnist")
    return workspace


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epsilon", "0.05"), ("points", "10"), ("epochs", "15"), ("retraining_epochs", "4"),
        ("batch_size", "64"), ("layer", "default"), ("n_images", "500"), ("cw_steps", "?"),
        ("learning_rate", "0.001"),
    ],
)  # fmt: skip
def test_the_value_is_that_of_the_jobs_concerned(run, name, value):
    assert value_in_run(run, name, "digits", [0], [1, 2]) == value


def test_other_jobs_have_their_own(run):
    assert value_in_run(run, "points", "digits", [0], [3]) == "7"
    assert value_in_run(run, "epsilon", "digits", [1], [2]) == "0.4"
    assert value_in_run(run, "epsilon", "mnist", [0], [2]) == "0.5"
    assert value_in_run(run, "epsilon", "cifar", [0], [2]) == "?"


def test_jobs_that_differ_are_all_named(run):
    assert value_in_run(run, "points", "digits", [0], [1, 3]) == (
        "10 (3-4.1, seed 0, configuration 1); 7 (3-4.1, seed 0, configuration 3)"
    )
    assert value_in_run(run, "epsilon", "digits", [0, 1], [2]) == (
        "0.05 (1.1, seed 0); 0.4 (1.1, seed 1)"
    )
    record(run, "0.1", {"batch_size": 32})
    assert value_in_run(run, "batch_size", "digits", [0], [1, 2]) == (
        "32 (0.1, seed 0); 64 (3-4.1, seed 0, configuration 1 and 3-4.1, seed 0, configuration 2)"
    )
