"""What making and scoring inputs costs: each configuration pays for what it takes."""

import numpy as np
import pandas as pd
import pytest

from utils.core.paths import Workspace
from utils.retraining.configurations import CONFIGURATIONS
from utils.retraining.costs import input_costs, with_input_costs
from utils.retraining.results import INPUT_COST

METRICS = ["dsa", "deepgini", "random"]


@pytest.fixture
def workspace(tmp_path):
    """Costs in whole numbers, each of another decimal place; energy is a thousandth of them."""
    made = pd.DataFrame({"split": ["train", "train", "val", "test"], "seconds": [3, 4, 500, 600]})
    scored = pd.DataFrame({"metric": METRICS, "seconds": [20, 10, 0]})
    scored = scored.assign(forward_train_seconds=100, forward_adv_train_seconds=1000)
    for table in (made, scored):
        for column in [c for c in table if c.endswith("seconds")]:
            table[column.replace("seconds", "energy_kwh")] = table[column] / 1000
    workspace = Workspace(tmp_path)
    for folder, name, table in (
        (workspace.adversarial("digits", 3), "attacks.csv", made),
        (workspace.metrics("digits", 3), "metrics.csv", scored),
    ):
        folder.mkdir(parents=True)
        table.to_csv(folder / name, index=False)
    return workspace


@pytest.mark.parametrize(
    ("configuration", "making", "scoring"),
    [
        (1, 7, [1120, 1110, 0]),
        (2, 7, [1120, 1110, 0]),
        (3, 7, [1120, 1010, 0]),  # dsa compares with the training inputs
        (4, 0, [120, 110, 0]),
        (5, 7, [1120, 1010, 0]),  # all training inputs, but they are not ordered
    ],
)
def test_a_configuration_pays_for_what_it_takes(workspace, configuration, making, scoring):
    costs = input_costs(workspace, "digits", 3, configuration, METRICS)
    assert list(costs.columns) == INPUT_COST and list(costs.index) == METRICS
    assert costs["adversarial_seconds"].tolist() == [making] * 3
    assert costs["scoring_seconds"].tolist() == scoring
    for part in ("adversarial", "scoring"):
        wanted = costs[f"{part}_seconds"] / 1000
        assert costs[f"{part}_energy_kwh"].tolist() == pytest.approx(wanted.tolist())


def test_only_a_configuration_that_attacks_in_training_needs_no_adversarial_inputs():
    assert [c.id for c in CONFIGURATIONS.values() if not c.takes("adv_train")] == [4]
    assert [c.id for c in CONFIGURATIONS.values() if c.takes("train")] == [1, 2, 4, 5]


def test_what_was_not_measured_is_not_known(workspace):
    """Files of an earlier version, or of a run with other metrics."""
    file = workspace.adversarial("digits", 3) / "attacks.csv"
    pd.read_csv(file).drop(columns=["seconds"]).to_csv(file, index=False)
    costs = input_costs(workspace, "digits", 3, 2, ["dsa", "nc"])
    assert costs["adversarial_seconds"].isna().all()
    assert (costs["adversarial_energy_kwh"] == 0.007).all()
    assert costs["scoring_seconds"].isna().tolist() == [False, True]
    assert (input_costs(workspace, "digits", 3, 4, ["dsa"])["adversarial_seconds"] == 0).all()


def test_an_energy_that_was_not_measured_is_not_0(workspace):
    file = workspace.adversarial("digits", 3) / "attacks.csv"
    pd.read_csv(file).assign(energy_kwh=[0.003, np.nan, 0.1, 0.1]).to_csv(file, index=False)
    costs = input_costs(workspace, "digits", 3, 2, ["dsa"])
    assert costs["adversarial_energy_kwh"].isna().all()
    assert costs["adversarial_seconds"].tolist() == [7]


@pytest.mark.parametrize(("name", "step"), [("attacks.csv", "1.1"), ("metrics.csv", "2.1")])
def test_a_missing_file_names_its_step(workspace, name, step):
    next(workspace.root.rglob(name)).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{name}.*{step}"):
        input_costs(workspace, "digits", 3, 2, ["dsa"])


def test_costs_are_alike_for_all_points_but_that_of_the_original_model(workspace):
    costs = input_costs(workspace, "digits", 3, 2, METRICS)
    table = pd.DataFrame(
        {"metric": ["random", "dsa", "dsa", "dsa"], "point": [1, 0, 1, 2], "accuracy": 0.5}
    )
    found = with_input_costs(table.assign(**dict.fromkeys(INPUT_COST, np.nan)), costs)
    assert found["adversarial_seconds"].tolist() == [7, 0, 7, 7]
    assert found["scoring_seconds"].tolist() == [0, 0, 1120, 1120]
    assert found[["metric", "point", "accuracy"]].equals(table)
    assert found.columns.is_unique
