"""The results table: its columns, and that files give back what was written."""

import hashlib

import numpy as np
import pandas as pd
import pytest

from utils.core.files import read_json
from utils.retraining.results import (
    COLUMNS,
    COST,
    KEY,
    OUTCOMES,
    read_results,
    results_table,
    write_results,
)

MADE = {"p0": {"python": "3.11"}}


def row(point=0, metric="dsa", **values):
    numbers = {name: 0.1 * (i + 1) for i, name in enumerate(COLUMNS)}
    key = {"dataset": "digits", "configuration": 2, "metric": metric, "seed": 0, "point": point}
    texts = {"energy_method": "estimated (by hand; 8 W, one core)", "provenance": "p0"}
    texts |= dict.fromkeys(OUTCOMES, "5:oA==")  # 1, 0, 1, 0, 0
    texts["problem"] = ""
    return {
        **numbers,
        **key,
        "n_inputs": 10 * point,
        "n_prefix": 10 * point,
        "n_adversarial": 2 * point,
        "accuracy_fgsm": 0.5,
        **texts,
        **values,
    }


def write(path, rows):
    return write_results(path, rows, MADE, {"seed": 0})


def test_columns_are_those_of_the_study_in_order():
    table = results_table([row()])
    assert list(table.columns[:6]) == [*KEY, "n_inputs"]
    place = list(table.columns).index("accuracy_robust")
    assert list(table.columns[place + 1 : place + 4]) == [
        "accuracy_fgsm",
        "val_loss",
        "val_accuracy",
    ]
    assert list(table.columns[-len(COST) :]) == COST
    assert [str(table[c].dtype) for c in ("configuration", "seed", "point")] == ["int64"] * 3


def test_rows_are_sorted():
    table = results_table([row(2), row(0), row(10), row(1, metric="nc"), row(1)])
    assert table[["metric", "point"]].values.tolist() == [
        ["dsa", 0],
        ["dsa", 1],
        ["dsa", 2],
        ["dsa", 10],
        ["nc", 1],
    ]


def test_csv_gives_back_every_digit(tmp_path):
    rng = np.random.default_rng(0)
    rows = [row(p, loss=rng.random() * 10.0 ** rng.integers(-300, 300)) for p in range(50)]
    rows[3]["gpu_percent"] = np.nan
    written = write(tmp_path / "new" / "t.csv", rows)
    pd.testing.assert_frame_equal(
        read_results(tmp_path / "new" / "t.csv"), written, check_exact=True
    )
    plain = pd.read_csv(tmp_path / "new" / "t.csv")
    assert plain["loss"].tolist() == [r["loss"] for r in rows]


def test_several_files_make_one_table_and_attacks_may_differ(tmp_path):
    other = {k: v for k, v in row(metric="nc").items() if k != "accuracy_fgsm"}
    write(tmp_path / "a.csv", [row()])
    write(tmp_path / "b.csv", [{**other, "accuracy_cw": 0.25}])
    table = read_results([tmp_path / "a.csv", str(tmp_path / "b.csv")])
    assert table["metric"].tolist() == ["dsa", "nc"]
    assert table["accuracy_fgsm"].isna().tolist() == [False, True]
    assert table["accuracy_cw"].isna().tolist() == [True, False]


def test_names_that_look_like_missing_values_survive(tmp_path):
    write(tmp_path / "t.csv", [row(dataset="null"), row(dataset="1")])
    assert read_results(tmp_path / "t.csv")["dataset"].tolist() == ["1", "null"]


def test_a_row_twice_is_an_error_that_names_it(tmp_path):
    with pytest.raises(ValueError, match=r"2 rows occur twice.*metric dsa.*point 1"):
        results_table([row(1), row(1), row(1), row(2)])
    write(tmp_path / "a.csv", [row()])
    with pytest.raises(ValueError, match="occur twice"):
        read_results([tmp_path / "a.csv", tmp_path / "a.csv"])


def test_missing_and_unknown_columns_are_named(tmp_path):
    incomplete = {k: v for k, v in row().items() if k not in ("recall", "seed")}
    with pytest.raises(ValueError, match="columns missing: seed, recall"):
        results_table([incomplete])
    with pytest.raises(ValueError, match="unknown columns: mood"):
        results_table([row(mood=1)])
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"t\.csv: results: columns missing: dataset"):
        read_results(tmp_path / "t.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(ValueError, match=r"empty\.csv"):
        read_results(tmp_path / "empty.csv")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"point": 1.5}, "column point: expected whole numbers"),
        ({"seed": np.nan}, "column seed: expected whole numbers"),
        ({"loss": "low"}, "expected numbers"),
        ({"metric": None}, "expected a name"),
        ({"provenance": None}, "expected a name"),
    ],
)
def test_wrong_values_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        results_table([row(**values)])


def test_nothing_to_read():
    with pytest.raises(ValueError, match="at least one file"):
        read_results([])
    with pytest.raises(FileNotFoundError):
        read_results("nowhere.csv")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    write(tmp_path / "t.csv", [row()])
    with pytest.raises(ValueError, match="occur twice"):
        write(tmp_path / "t.csv", [row(1), row(1)])
    assert len(read_results(tmp_path / "t.csv")) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.csv", "t.json"]


def test_the_file_beside_a_table_tells_how_its_rows_were_made(tmp_path):
    made = {"p1": {"python": "3.11"}, "p2": {"python": "3.12"}, "p3": {"python": "3.13"}}
    rows = [row(0, provenance="p2"), row(1, provenance="p1"), row(2, provenance="p2")]
    write_results(tmp_path / "t.csv", rows, made, {"seed": 4, "epochs": 10})
    assert read_json(tmp_path / "t.json") == {
        "table": "t.csv",
        "sha256": hashlib.sha256((tmp_path / "t.csv").read_bytes()).hexdigest(),
        "parameters": {"seed": 4, "epochs": 10},
        "provenance": {"p1": {"python": "3.11"}, "p2": {"python": "3.12"}},
    }
    assert read_results(tmp_path / "t.csv")["provenance"].tolist() == ["p2", "p1", "p2"]
    with pytest.raises(ValueError, match="expected facts about p2"):
        write_results(tmp_path / "u.csv", rows, {"p1": {}}, {})
    assert not list(tmp_path.glob("u.*"))


def test_a_damaged_table_is_refused(tmp_path):
    write(tmp_path / "t.csv", [row(), row(1)])
    whole = (tmp_path / "t.csv").read_text()
    for damaged in (whole.replace("0.5", "0.4", 1), whole[: whole.rindex("digits")]):
        (tmp_path / "t.csv").write_text(damaged)
        with pytest.raises(ValueError, match=r"t\.csv: not the table that t\.json describes"):
            read_results(tmp_path / "t.csv")
    (tmp_path / "t.json").unlink()
    assert len(read_results(tmp_path / "t.csv")) == 1  # on one's own authority
    (tmp_path / "t.json").write_text("[]")
    with pytest.raises(ValueError, match="not the table"):
        read_results(tmp_path / "t.csv")
