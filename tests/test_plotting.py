"""Figures: what is drawn, in which look, and that saved files are whole and repeatable."""

import ast
import importlib
import inspect
import pkgutil
from itertools import pairwise

import matplotlib as mpl
import matplotlib.image
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.test_templates import NOTEBOOKS, cells
from utils import plotting
from utils.metrics.registry import METRICS
from utils.plotting import fonts
from utils.plotting.adversarial import (
    adversarial_examples,
    attack_accuracy,
    attack_norms,
    fresh_accuracy,
)
from utils.plotting.budgets import accuracy_by_budget
from utils.plotting.curves import all_curves, curve_panels, resource_curves, retraining_curves
from utils.plotting.evidence import critical_differences, differences_to_random
from utils.plotting.images import class_counts, image_grid
from utils.plotting.networks import confusion_matrix, training_history
from utils.plotting.scores import first_picks, rank_correlation, score_distributions
from utils.plotting.sensitivity import setting_effects
from utils.plotting.style import STYLE, metric_style, save_figure
from utils.plotting.tradeoffs import comparison, pareto
from utils.retraining.fresh_results import BY_EPSILON
from utils.retraining.outcomes import pack
from utils.retraining.selection import measured
from utils.statistics.advice import recommend
from utils.statistics.pairs import compare_pairs
from utils.statistics.ranking import rank_tests
from utils.statistics.sensitivity import summarise_variants
from utils.statistics.summaries import summarise_runs, summarise_seeds

mpl.use("Agg")


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def table(metrics=tuple(METRICS), configurations=(2,), seeds=(0,), points=3, datasets=("digits",)):
    """Results table whose curves rise by 0.1 a point; each metric lies 0.01 below the last."""
    rows = []
    for dataset in datasets:
        for configuration in configurations:
            for rank, metric in enumerate(metrics):
                for seed in seeds:
                    for point in range(points + 1):
                        accuracy = 0.5 + (0.1 * point - 0.01 * rank + 0.02 * seed) * (point > 0)
                        right = pack(np.arange(1000) < 1000 * accuracy)
                        both = f"{right};{right}"
                        rows.append(
                            {
                                "dataset": dataset,
                                "configuration": configuration,
                                "metric": metric,
                                "seed": seed,
                                "point": point,
                                "n_inputs": 100 * point,
                                "n_prefix": 100 * point,
                                "n_adversarial": 50 * point,
                                "accuracy": accuracy,
                                "loss": 1 - accuracy,
                                "val_accuracy": accuracy,
                                "val_right": right,
                                "right": right,
                                **dict.fromkeys(
                                    ("accuracy_robust", "val_accuracy_robust"), accuracy
                                ),
                                **dict.fromkeys(("right_robust", "val_right_robust"), both),
                                "accuracy_clean": accuracy,
                                "accuracy_cw": accuracy,
                                "fit_seconds": float(point * configuration),
                                "cpu_seconds": float(point * configuration),
                                "cpu_percent": 95.0,
                                "memory_peak_mb": 700.0 + point,
                                "energy_kwh": point / 1000,
                                "adversarial_seconds": 40.0 * (point > 0),
                                "adversarial_energy_kwh": 0.1 * (point > 0),
                                "scoring_seconds": 2.0 * (point > 0),
                                "scoring_energy_kwh": 0.01 * (point > 0),
                                "energy_method": "estimated (CPU load)",
                                "gpu_percent": np.nan,
                                "gpu_memory_mb": np.nan,
                            }
                        )
    return pd.DataFrame(rows)


def runs_of(results):
    return summarise_runs(measured(results))


def texts(figure):
    """Every visible text of a figure."""
    return [t.get_text() for t in figure.findobj(mpl.text.Text) if t.get_visible()]


def lines(axis, label):
    return [line for line in axis.lines if line.get_label().startswith(label)]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


# style


def test_every_metric_has_its_own_colour_and_marker():
    looks = [metric_style(metric) for metric in METRICS]
    assert len({look["color"] for look in looks}) == len(looks)
    assert len({look["marker"] for look in looks}) == len(looks)
    random = metric_style("random")
    assert random["linestyle"] == "--"
    assert len(set(mpl.colors.to_rgb(random["color"]))) == 1  # grey
    assert metric_style("mine") == metric_style("mine")


def test_global_settings_are_left_alone():
    before = dict(mpl.rcParams)
    class_counts({"training": [1, 2]}, ["a", "b"])
    assert dict(mpl.rcParams) == before


def test_many_figures_give_no_warning(recwarn):
    for _ in range(21):
        image_grid(np.zeros((1, 2, 2, 1)))
    assert not recwarn.list


def test_a_failed_drawing_leaves_no_figure():
    with pytest.raises(IndexError):
        confusion_matrix(np.array([5]), np.array([0]), ["a", "b"])
    assert plt.get_fignums() == []


def test_figures_fit_a_page_of_900_pixels():
    figure = retraining_curves(table())
    width, _ = figure.get_size_inches() * figure.dpi
    assert width <= 900
    assert figure.dpi <= 120


def test_save(tmp_path):
    figure = retraining_curves(table())
    paths = save_figure(figure, tmp_path / "new", "digits_c2_accuracy")
    assert [path.name.split(".") for path in paths] == [
        ["digits_c2_accuracy", suffix] for suffix in ("svg", "pdf", "png")
    ]
    assert sorted(paths) == sorted((tmp_path / "new").iterdir())
    first = [path.read_bytes() for path in paths]
    again = retraining_curves(table())
    assert [path.read_bytes() for path in save_figure(again, tmp_path, "b")] == first
    svg = first[0].decode()
    assert "<text" in svg and "inputs put first" in svg and "<dc:date>" not in svg
    pixels = mpl.image.imread(paths[2])
    assert pixels.shape[1] <= 9.2 * 120
    assert pixels[..., :3].std() > 0.05


# data and original model


def test_class_counts():
    figure = class_counts({"training": [3, 4], "test": [1, 0]}, ["cat", "dog"])
    assert [bar.get_height() for bar in figure.axes[0].patches] == [3, 4]
    assert [axis.get_title("left") for axis in figure.axes] == [
        "training: 7 images",
        "test: 1 images",
    ]
    assert [t.get_text() for t in figure.axes[1].get_xticklabels()] == ["cat", "dog"]


def test_image_grid():
    images = np.linspace(0, 1, 3 * 4 * 4).reshape(3, 4, 4, 1)
    figure = image_grid(images, ["a", "b", "c"], columns=2)
    shown = [axis for axis in figure.axes if axis.images]
    assert [axis.get_title() for axis in shown] == ["a", "b", "c"]
    assert shown[0].images[0].get_clim() == (0, 1)  # the same grey in every image
    assert image_grid(np.zeros((2, 4, 4, 3))).axes[1].images[0].get_array().ndim == 3


def test_training_history():
    history = pd.DataFrame({"epoch": [1, 2], "loss": [1, 0.5], "accuracy": [0.5, 0.8]})
    assert legend(training_history(history)) == ["training"]
    history = history.assign(val_loss=[1, 0.6], val_accuracy=[0.4, 0.7])
    figure = training_history(history)
    assert legend(figure) == ["training", "validation"]
    assert lines(figure.axes[1], "validation")[0].get_ydata().tolist() == [0.4, 0.7]


def test_confusion_matrix():
    figure = confusion_matrix([0, 0, 0, 1], [0, 0, 1, 1], ["cat", "dog"])
    axis = figure.axes[0]
    np.testing.assert_allclose(axis.images[0].get_array(), [[2 / 3, 1 / 3], [0, 1]])
    assert [text.get_text() for text in axis.texts] == ["2", "1", "1"]  # zeros stay empty


def test_confusion_matrix_of_43_classes():
    y = np.arange(43)
    figure = confusion_matrix(y, y, [f"{i}: a sign with a name that is long" for i in y])
    assert len(figure.axes[0].texts) == 0
    labels = figure.axes[0].get_yticklabels()
    assert len(labels) == 43
    boxes = [label.get_window_extent() for label in labels]
    assert all(upper.y0 >= lower.y1 - 1 for upper, lower in pairwise(boxes))


# adversarial inputs


def test_adversarial_examples():
    clean = np.full((3, 4, 4, 1), 0.5)
    adversarial = clean.copy()
    adversarial[:, 0, 0] += 0.05
    figure = adversarial_examples(
        clean, adversarial, [0, 0, 0], [0, 0, 0], [1, 0, 1], ["FGSM", "BIM", "FGSM"], ["cat", "dog"]
    )
    shown = [axis for axis in figure.axes if axis.images]
    assert len(shown) == 3 * 3
    assert shown[1].images[0].get_clim() == pytest.approx((-0.05, 0.05))
    assert shown[1].images[0].get_array()[0, 0] == pytest.approx(0.05)
    assert shown[1].get_title() == "perturbation\n±0.05"
    assert shown[2].get_title() == "adversarial\n→ dog"
    assert shown[2].title.get_color() != shown[8].title.get_color() == "black"  # BIM did not fool
    assert {"FGSM", "BIM"} <= set(texts(figure))


def test_adversarial_example_without_a_change():
    image = np.zeros((1, 4, 4, 3))
    figure = adversarial_examples(image, image, [0], [0], [0], ["CW"], ["cat"])
    assert sum(bool(axis.images) for axis in figure.axes) == 3


def test_attack_accuracy():
    summary = pd.DataFrame(
        {
            "attack": ["fgsm", "cw"],
            "name": ["FGSM", "Carlini-Wagner"],
            "accuracy_clean": [0.9, 0.9],
            "accuracy_adversarial": [0.4, 0.0],
            "success_rate": [0.55, np.nan],
        }
    )
    figure = attack_accuracy(summary)
    axis = figure.axes[0]
    np.testing.assert_allclose(
        [bar.get_width() for bar in axis.patches], [0.9, 0.9, 0.4, 0, 0.55, np.nan]
    )
    assert [label.get_text() for label in axis.get_yticklabels()] == ["FGSM", "Carlini-Wagner"]
    both = pd.concat([summary.assign(split="train"), summary.assign(split="test")])
    figure = attack_accuracy(both)
    assert [axis.get_title("left") for axis in figure.axes] == ["train", "test"]


def test_attack_norms():
    norms = {"FGSM": np.full(9, np.float32(0.05)), "CW": np.array([0.1, 0.4])}
    figure = attack_norms(norms, {"FGSM": 0.05}, {"FGSM": "Linf", "CW": "L2"})
    fgsm, cw = figure.axes
    counts, edges, _ = fgsm.patches[0].get_data()
    assert counts[edges[1:] <= 0.05 * (1 + 1e-6)].sum() == 9  # none drawn beyond the budget
    assert fgsm.lines[0].get_xdata()[0] == 0.05 and not cw.lines
    assert (fgsm.get_xlabel(), cw.get_xlabel()) == ("L∞ norm", "L2 norm")
    assert cw.patches[0].get_data().values.sum() == 2
    # a norm above its budget is drawn above it
    over = attack_norms({"A": [0.01, 0.09]}, {"A": 0.05}, {"A": "L1"}).axes[0]
    counts, edges, _ = over.patches[0].get_data()
    assert counts[edges[:-1] >= 0.05 * (1 - 1e-6)].sum() == 1


def test_fresh_attacks_are_beside_the_fixed_inputs():
    rows = [
        {
            "dataset": d,
            "configuration": c,
            "metric": m,
            "seed": s,
            "accuracy_fixed": 0.8,
            "accuracy_fixed_linf": 0.6,
            "accuracy_fresh": 0.1 * c + 0.02 * s,
        }
        for d in ("mnist", "digits")
        for c in (1, 3)
        for m in ("original", "dsa", "nc")
        for s in (0, 1)
    ]
    figure = fresh_accuracy(pd.DataFrame(rows))
    titles = [axis.get_title("left") for axis in figure.axes]
    assert titles == [f"{d}, configuration {c}" for d in ("mnist", "digits") for c in (1, 3)]
    axis = figure.axes[1]
    widths = [[round(bar.get_width(), 3) for bar in bars] for bars in axis.containers]
    assert widths == [[0.8] * 3, [0.6] * 3, [0.31] * 3]  # 0.30 and 0.32: mean over the seeds
    assert axis.lines[0].get_xdata()[0] == pytest.approx(0.31)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["original model", "Neuron coverage", "Distance-based\nsurprise adequacy"]
    assert "fresh attacks, worst case" in legend(figure)
    assert len({bars.patches[0].get_facecolor() for bars in axis.containers}) == 3


def test_accuracy_against_the_budget():
    rows = [
        {"dataset": d, "configuration": c, "metric": m, "seed": s}
        | {column: 1 / (1 + x) - 0.1 * s for x, column in BY_EPSILON.items()}
        for d in ("mnist", "digits")
        for c in (1, 3)
        for m in ("original", "dsa", "nc")
        for s in (0, 1)
    ]
    figure = accuracy_by_budget(pd.DataFrame(rows))
    titles = [axis.get_title("left") for axis in figure.axes]
    assert titles == [f"{d}, configuration {c}" for d in ("mnist", "digits") for c in (1, 3)]
    for axis in figure.axes:
        lines = {line.get_label(): line for line in axis.lines if line.get_label()[0] != "_"}
        assert set(lines) == set(legend(figure)) and "original model" in lines and len(lines) == 3
        for line in lines.values():
            assert line.get_xdata().tolist() == [0, 0.25, 0.5, 1, 2, 4]
            assert line.get_ydata() == pytest.approx(1 / (1 + line.get_xdata()) - 0.05)
        places = axis.transData.transform([(x, 0.5) for x in BY_EPSILON])[:, 0]
        assert np.ptp(np.diff(np.sort(places))) < 1e-6 < np.diff(places).min()  # evenly spaced
    assert figure.axes[2].get_xlabel() == "budget, in epsilon"


# scores


def test_score_distributions():
    rng = np.random.default_rng(0)
    scores = {"dsa": np.r_[rng.random(999), 1e6], "nc": np.zeros(1000), "random": rng.random(1000)}
    figure = score_distributions(scores, 600)
    nc, dsa, random = figure.axes[:3]
    assert legend(figure) == ["training inputs", "adversarial inputs"]
    assert dsa.get_xlim()[1] < 2 and "inputs beyond the axis" in dsa.get_xlabel()
    assert "all scores equal 0" in nc.get_xlabel()
    assert random.get_xlabel() == "score"
    for axis in (nc, dsa, random):  # clipped or not, every input is counted
        for stairs in axis.patches:
            assert stairs.get_data().values.sum() == pytest.approx(1)


def test_rank_correlation():
    rising = np.arange(5)
    scores = {"nc": rising, "dsa": rising**3, "lsa": -rising, "random": np.ones(5)}
    figure = rank_correlation(scores)
    values = np.array(figure.axes[0].images[0].get_array())
    np.testing.assert_allclose(values[:3, :3], [[1, -1, 1], [-1, 1, -1], [1, -1, 1]])
    assert [text.get_text() for text in figure.axes[0].texts].count("–") == 7
    assert rank_correlation({"nc": np.arange(3)}).axes[0].texts[0].get_text() == "1.00"


def test_first_picks():
    images = np.arange(5)[:, None, None, None] / 5 * np.ones((1, 2, 2, 1))
    scores = {"nc": np.array([0, 4, 1, 3, 2]), "dsa": np.arange(5)}
    figure = first_picks(images, scores, 3, k=3)
    shown = [float(axis.images[0].get_array()[0, 0]) * 5 for axis in figure.axes]
    np.testing.assert_allclose(shown, [1, 3, 4, 4, 3, 2])
    widths = [axis.spines["top"].get_linewidth() for axis in figure.axes]
    assert widths == [1, 3, 3, 3, 3, 1]
    figure = first_picks(images, scores, 3, 1, orders={"nc": [2], "dsa": [0]})
    assert float(figure.axes[0].images[0].get_array()[0, 0]) * 5 == pytest.approx(2)


# retraining


def test_retraining_curves():
    figure = retraining_curves(table())
    axis = figure.axes[0]
    for metric, entry in METRICS.items():
        (line,) = lines(axis, entry.name)
        look = metric_style(metric)
        assert line.get_xdata().tolist() == [100, 200, 300]
        assert (line.get_color(), line.get_marker()) == (look["color"], look["marker"])
    rings = [line for line in axis.lines if line.get_markersize() == 12]
    assert len(rings) == len(METRICS) and {ring.get_xdata()[0] for ring in rings} == {300}
    (original,) = lines(axis, "original model")
    assert set(original.get_ydata()) == {0.5}
    assert legend(figure)[0].endswith("best 0.800 at 300 inputs")
    assert len(legend(figure)) == len(METRICS) + 1
    assert not axis.collections  # one seed has no band
    assert axis.get_legend() is None  # the legend stands outside
    assert axis.get_window_extent().x1 <= figure.legends[0].get_window_extent().x0


def test_retraining_curves_over_seeds():
    figure = retraining_curves(table(metrics=["dsa"], seeds=(0, 1)))
    (line,) = lines(figure.axes[0], METRICS["dsa"].name)
    # 0.60 and 0.62: mean 0.61, half-width 12.706205 * 0.0141421 / sqrt(2) = 0.127062
    assert line.get_ydata()[0] == pytest.approx(0.61)
    (band,) = figure.axes[0].collections
    heights = band.get_paths()[0].vertices
    at_first = heights[heights[:, 0] == 100][:, 1]
    assert (at_first.min(), at_first.max()) == pytest.approx((0.482938, 0.737062), abs=1e-5)
    assert "mean of 2 seeds" in figure.axes[0].get_title("left")


def test_loss_is_best_where_lowest_and_time_adds_up():
    results = table(metrics=["dsa"])
    figure = retraining_curves(results, "loss", x="fit_seconds")
    (line,) = lines(figure.axes[0], METRICS["dsa"].name)
    assert line.get_xdata().tolist() == [2, 6, 12]  # 2, 2 + 4, 2 + 4 + 6
    assert legend(figure)[0].endswith("best 0.200 at 12 s")
    assert "(s)" in figure.axes[0].get_xlabel()


def test_one_point_and_the_accuracy_of_one_attack():
    figure = retraining_curves(table(metrics=["nc"], points=1), "accuracy_cw")
    assert len(lines(figure.axes[0], METRICS["nc"].name)[0].get_xdata()) == 1
    assert figure.axes[0].get_ylabel() == "accuracy (attack cw)"


def test_curves_are_of_one_configuration():
    mixed = table(configurations=(1, 2))
    for function in (retraining_curves, resource_curves, lambda t: curve_panels(t, ["loss"])):
        with pytest.raises(ValueError, match="one data set and one configuration"):
            function(mixed)
    with pytest.raises(ValueError, match=r"expected columns \['acuracy'\]"):
        retraining_curves(table(), "acuracy")


def test_panels_of_several_quantities():
    results = table()
    names = ["accuracy", "accuracy_clean", "loss", "accuracy_cw"]
    figure = curve_panels(results, names)
    shown = [axis for axis in figure.axes if axis.axison]
    assert len(shown) == 4 and shown[2].get_title("left").startswith("loss")
    for axis, quantity in zip(
        shown, ["accuracy", "accuracy_clean", "loss", "accuracy_cw"], strict=True
    ):
        own = results[results["metric"] == "dsa"].sort_values("point")
        (line,) = lines(axis, METRICS["dsa"].name)
        assert line.get_ydata().tolist() == pytest.approx(own[quantity][1:].tolist())
    assert "original model" in legend(figure)


def test_resource_curves():
    figure = resource_curves(table())
    assert len(figure.axes) == 4  # no GPU, no panel
    energy = figure.axes[3]
    assert energy.get_title("left") == "energy (Wh): estimated (CPU load)"
    assert energy.lines[0].get_ydata().tolist() == pytest.approx([1, 2, 3])
    for axis in figure.axes:
        assert axis.get_ylim()[0] == 0 and axis.get_xlim()[0] == 0
        assert axis.get_ylim()[1] >= max(line.get_ydata().max() for line in axis.lines)
        assert len(axis.lines) == len(METRICS)
    with_gpu = table().assign(gpu_percent=50.0, energy_kwh=np.nan)
    figure = resource_curves(with_gpu)
    assert "mean GPU (%)" in texts(figure) and "not measured" in texts(figure)


# side by side


def test_all_curves_at_a_glance():
    results = table(configurations=(1, 3), datasets=("mnist", "digits"))
    figure = all_curves(results)
    kinds = ("robust accuracy", "the study's accuracy")
    rows = [f"{dataset}\n{kind}" for dataset in ("mnist", "digits") for kind in kinds]
    assert [axis.get_ylabel() for axis in figure.axes] == [t for row in rows for t in (row, "")]
    assert [axis.get_title(loc="left") for axis in figure.axes[:2]] == [
        "configuration 1\nfrom scratch",
        "configuration 3\nadversarial inputs\nonly",
    ]
    for axis in figure.axes:
        *curves, original = axis.get_lines()
        assert len(curves) == len(METRICS) and set(original.get_ydata()) == {0.5}
        assert curves[0].get_xdata().tolist() == [100, 200, 300]
        np.testing.assert_allclose(curves[0].get_ydata(), [0.6, 0.7, 0.8])


def test_all_curves_have_one_legend_whatever_each_configuration_ran():
    part = table(["dsa", "random"], (3,))
    results = pd.concat([part, table(["adversarial_first"], (4,))], ignore_index=True)
    names = [METRICS[metric].name for metric in ("dsa", "random", "adversarial_first")]
    assert legend(all_curves(results)) == [*names, "original model"]


@pytest.mark.parametrize("n_datasets", [1, 6])
def test_comparison(n_datasets):
    datasets = ["digits", "mnist", "cifar", "fashion", "intel", "gtsrb"][:n_datasets]
    summary = summarise_seeds(runs_of(table(configurations=(1, 2, 3), points=2, datasets=datasets)))
    figure = comparison(summary)
    assert len(figure.axes) == 5 * n_datasets
    assert [axis.get_ylabel() for axis in figure.axes[::5]] == datasets
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["c1", "c2", "c3"]
    points = [line for line in figure.axes[1].lines if line.get_marker() not in ("", "None", None)]
    assert len(points) == 3 * len(METRICS)
    right = figure.axes[1].get_xlim()[1]
    assert max(point.get_xdata()[0] for point in points) == 9 < right  # (1 + 2) * 3 s
    assert legend(figure)[:-1] == [entry.name for entry in METRICS.values()]
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.width


def test_comparison_of_one_metric_without_energy():
    results = table(metrics=["dsa"], seeds=(0, 1)).assign(energy_kwh=np.nan)
    figure = comparison(summarise_seeds(runs_of(results)), accuracy="best_accuracy")
    assert "best robust accuracy" in figure.axes[0].get_title("left")
    assert "not measured" in texts(figure)


def test_with_one_seed_whiskers_are_intervals_over_images():
    summary = summarise_seeds(runs_of(table(metrics=["dsa"])))
    axis = comparison(summary).axes[0]
    (whisker,) = axis.containers[0].lines[2]
    ends = whisker.get_paths()[0].vertices[:, 0]
    # 800 of 1,000 in both parts
    expected = stats.binomtest(800, 1000).proportion_ci(method="wilson")
    np.testing.assert_allclose(ends, expected)


def test_pareto():
    results = table(metrics=["dsa", "random"], configurations=(1, 2))
    results.loc[results["configuration"] == 2, "energy_kwh"] /= 10
    figure = pareto(summarise_seeds(runs_of(results)))
    # dsa is more accurate than random; configuration 1 takes half the time, 2 a tenth of the energy
    for axis, costs in zip(figure.axes, ([3, 6], [3, 0.3]), strict=True):
        coloured = [line for line in axis.lines if line.get_markersize() == 8]
        assert [line.get_xdata()[0] for line in coloured] == pytest.approx(costs)
        assert {line.get_color() for line in coloured} == {metric_style("dsa")["color"]}
        assert len(axis.lines) == 4 and [text.get_text() for text in axis.texts] == ["c1", "c2"]
    assert "original model: 0.500" in figure.axes[0].get_title("left")
    assert "Wh" in figure.axes[1].get_xlabel()


def test_pareto_without_energy_is_over_accuracy_and_time():
    results = table(metrics=["dsa"], configurations=(1, 2)).assign(energy_kwh=np.nan)
    time, energy = pareto(summarise_seeds(runs_of(results))).axes
    assert [line.get_xdata()[0] for line in time.lines if line.get_markersize() == 8] == [3]
    assert "not measured" in [text.get_text() for text in energy.texts]


def test_pareto_with_inputs_has_their_costs_and_a_front_of_its_own():
    results = table(metrics=["dsa"], configurations=(1, 4))
    in_training = results["configuration"] == 4
    results.loc[in_training, ["adversarial_seconds", "adversarial_energy_kwh"]] = 0.0
    summary = summarise_seeds(runs_of(results))
    # equally accurate: alone, 1 takes 3 s and 4 takes 12 s; with their inputs, 45 s and 14 s
    for with_inputs, costs, names in ((False, (3, 3), ["c1"]), (True, (14, 13), ["c4"])):
        for axis, cost in zip(pareto(summary, with_inputs=with_inputs).axes, costs, strict=True):
            assert min(line.get_xdata()[0] for line in axis.lines) == pytest.approx(cost)
            assert [text.get_text() for text in axis.texts] == names
            assert ("with its inputs" in axis.get_xlabel()) == with_inputs


def test_pareto_stretches_short_times():
    results = table(metrics=["dsa"], configurations=(1, 2))
    assert pareto(summarise_seeds(runs_of(results))).axes[0].get_xscale() == "linear"
    results.loc[results["configuration"] == 2, "fit_seconds"] *= 10
    time, energy = pareto(summarise_seeds(runs_of(results))).axes
    assert (time.get_xscale(), energy.get_xscale()) == ("log", "linear")
    assert "(s, logarithmic)" in time.get_xlabel()


def test_a_star_marks_the_recommendation():
    results = table(metrics=["dsa", "random"], configurations=(1, 2), seeds=(0, 1))
    choice = recommend(runs_of(results))
    results["accuracy"] -= 0.3  # the study's
    first, second, below, _ = all_curves(results, choice=choice).axes
    assert choice["configuration"] == 1 and not lines(second, "_recommended")
    # the last of three points: 0.8 and 0.82
    for axis, height in ((first, 0.81), (below, 0.51)):
        (star,) = lines(axis, "_recommended")
        assert (star.get_xdata()[0], star.get_ydata()[0]) == pytest.approx((300, height))


# evidence


def ranks(rows, columns):
    """Rank rows as of so many data sets with one seed."""
    index = pd.MultiIndex.from_tuples(
        [(f"d{i}", 0) for i in range(len(rows))], names=["dataset", "seed"]
    )
    return rank_tests({"": pd.DataFrame(rows, index=index, columns=columns)})[""]


def test_critical_differences():
    # dsa and lsa take turns at the top, nc and random at the bottom
    rows = [[4, 3, 2, 1], [3, 4, 1, 2]] * 6
    ranking = ranks(rows, ["dsa", "lsa", "nc", "random"])
    figure = critical_differences({"configuration 2": ranking})
    (axis,) = figure.axes
    groups = [line.get_xdata() for line in lines(axis, "_group")]
    np.testing.assert_allclose(groups, [[1.47, 1.53], [3.47, 3.53]])
    shown = " ".join(texts(figure))
    assert "Distance-based surprise adequacy (1.50)" in shown and "Random (3.50)" in shown
    # 2.569 sqrt(4 * 5 / (6 * 12))
    assert "critical difference 1.35" in shown
    assert "configuration 2 – 12 data sets – Friedman, Holm: p < 0.001" in axis.get_title("left")
    colours = [line.get_color() for line in axis.lines]
    assert metric_style("dsa")["color"] in colours
    box = figure.get_tightbbox()
    assert box.x0 >= 0 and box.x1 <= 9  # names of metrics are on the page


def test_critical_differences_without_a_difference_or_a_test():
    none = ranks([[1, 2, 3], [3, 2, 1], [2, 3, 1], [1, 3, 2]], [1, 2, 3])
    few = ranks([[1, 2, 3]], [1, 2, 3])
    first, second = critical_differences({"a": none, "b": few}).axes
    (group,) = lines(first, "_group")
    np.testing.assert_allclose(
        group.get_xdata(), [none.ranks.min() - 0.03, none.ranks.max() + 0.03]
    )
    assert not lines(second, "_group") and "no test: it needs 3 blocks" in second.get_title("left")
    assert "configuration 3 (1.00)" in " ".join(text.get_text() for text in second.texts)


def test_differences_to_random():
    results = table(metrics=["dsa", "nc", "random"], configurations=(1, 2), seeds=range(9))
    runs = runs_of(results)
    runs.loc[runs["metric"] == "dsa", "area"] += 0.1 + runs["seed"] / 1000
    figure = differences_to_random(runs, compare_pairs(runs))
    assert len(figure.axes) == 2
    axis = figure.axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == [
        METRICS["nc"].name,
        METRICS["dsa"].name,
    ]
    # dsa lies two steps above random, half of that in the first interval: 0.02 * 2.5 / 3
    mark = next(line for line in axis.lines if line.get_markersize() == 7)
    means = {
        line.get_ydata()[0]: line.get_xdata()[0]
        for line in axis.lines
        if line.get_markersize() == 7
    }
    assert means[1] == pytest.approx(0.1 + 0.004 + 0.02 * 2.5 / 3)
    assert mark.get_marker() in ("o", "^")
    assert [text.get_text() for text in axis.texts] == ["*", "*"]
    dots = [line for line in axis.lines if line.get_markersize() == 3]
    assert [len(line.get_xdata()) for line in dots] == [9, 9]
    assert figure.axes[1].get_title("left").startswith("configuration 2\n")


def test_differences_to_random_are_drawn_by_data_set_and_starred_where_they_are_tested():
    names = [f"set {i}" for i in range(7)]
    runs = runs_of(table(["dsa", "random"], (2,), seeds=(0, 1), datasets=names))
    runs.loc[runs["metric"] == "dsa", "area"] += runs["dataset"].str[-1].astype(int) / 100
    figure = differences_to_random(runs, compare_pairs(runs))
    assert [axis.get_ylabel() for axis in figure.axes] == [*names, "all data sets"]
    marks = [
        [line.get_xdata()[0] for line in axis.lines if line.get_markersize() == 7]
        for axis in figure.axes
    ]
    gap = 0.01 * 2.5 / 3
    np.testing.assert_allclose(np.ravel(marks), [*(gap + np.arange(7) / 100), gap + 0.03])
    dots = [line.get_xdata() for line in figure.axes[-1].lines if line.get_markersize() == 3]
    np.testing.assert_allclose(dots[0], gap + np.arange(7) / 100)
    stars = [[text.get_text() for text in axis.texts] for axis in figure.axes]
    assert stars == [[]] * 7 + [["*"]]


def test_differences_of_one_run_have_neither_interval_nor_star():
    runs = runs_of(table())
    figure = differences_to_random(runs, compare_pairs(runs))
    axis = figure.axes[0]
    assert len([line for line in axis.lines if line.get_markersize() == 7]) == 6
    assert not axis.texts and not axis.collections
    runs = runs_of(table(metrics=["dsa"]))
    assert "random was not run" in texts(differences_to_random(runs, compare_pairs(runs)))


# sensitivity


def varied(parameter, values, base, **options):
    """Runs of a setting and its values; the higher a value's place, the more accurate they are."""
    parts = []
    for place, value in enumerate(values):
        results = table(**options)
        rises = (results["point"] > 0) & (results["metric"] != "random")
        for column in ("accuracy_robust", "val_accuracy_robust"):
            results.loc[rises, column] += 0.02 * place
        names = {"parameter": parameter, "value": value, "is_base": value == base}
        parts.append(results.assign(**names))
    return pd.concat(parts)


def test_sensitivity():
    options = {"metrics": ["dsa", "random"], "configurations": (1, 2), "seeds": (0, 1)}
    runs = pd.concat(
        [
            varied("epsilon", ["0.02", "0.1", "0.05"], "0.05", **options),
            varied("layer", ["conv_1", "default"], "default", **options),
        ]
    )
    runs = summarise_variants(runs)
    figure = setting_effects(runs)
    assert len(figure.axes) == 4
    axis = figure.axes[0]
    assert (
        axis.get_title("left") == "configuration 1\nfrom scratch" and axis.get_xlabel() == "epsilon"
    )
    assert [t.get_text() for t in axis.get_xticklabels()] == ["0.02", "0.05", "0.1"]
    (band,) = axis.patches
    assert band.get_x() < 1 < band.get_x() + band.get_width() < 2  # the run itself has 0.05
    dsa = axis.containers[0]
    # 0.8 and 0.82 of the seeds; places 0, 2 and 1 of the values
    np.testing.assert_allclose(dsa.lines[0].get_ydata(), 0.81 + 0.02 * np.array([0, 2, 1]))
    (original,) = lines(axis, "original model")
    np.testing.assert_allclose(original.get_ydata(), 0.5)
    assert legend(figure)[0] == "original model" and len(legend(figure)) == 3

    to_random = setting_effects(runs, to_random=True).axes[3]
    assert to_random.get_xlabel() == "layer"
    assert len(to_random.containers) == 1  # random is the line at 0
    # dsa is 0.01 above random, 0.02 more at the second value; over the width, 2.5 of 3 points
    gaps = to_random.containers[0].lines[0].get_ydata()
    np.testing.assert_allclose(gaps, np.array([0.01, 0.03]) * 2.5 / 3)


def test_a_value_equal_to_that_of_the_run_is_drawn_once():
    results = varied("points", ["5", "10"], "5", metrics=["dsa"])
    again = varied("points", ["5"], "none", metrics=["dsa"])
    figure = setting_effects(summarise_variants(pd.concat([again, results])))
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["5", "10"]
    (band,) = figure.axes[0].patches
    assert band.get_x() < 0 < band.get_x() + band.get_width()


# every figure


def figure_functions():
    """Every function of the drawing modules that gives a figure, by its name."""
    found = {}
    for module in pkgutil.iter_modules(plotting.__path__):
        code = importlib.import_module(f"utils.plotting.{module.name}")
        for name, function in inspect.getmembers(code, inspect.isfunction):
            gives = inspect.signature(function).return_annotation
            if function.__module__ == code.__name__ and "Figure" in str(gives):
                found[name] = function
    return {name: f for name, f in found.items() if name != "styled"}


def test_every_figure_is_drawn_in_the_one_style():
    functions = figure_functions()
    assert len(functions) >= 18 and {"attack_norms", "setting_effects", "pareto"} <= set(functions)
    for name, function in functions.items():
        undecorated = inspect.unwrap(function)
        assert undecorated is not function, f"{name} lacks @styled"
        # and it is that decorator: it draws under the style
        assert function.__code__ is image_grid.__code__, name


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_templates_draw_with_these_functions_alone(path):
    """Each figure of a page is of `figure_functions`; pyplot and `Figures` only show it."""
    tree = ast.parse("\n".join(cell["source"] for cell in cells(path)))
    modules, names = set(), set()
    for node in ast.walk(tree):
        imported = [alias.name for alias in getattr(node, "names", [])]
        if isinstance(node, ast.ImportFrom) and node.module == "utils.plotting":
            modules |= set(imported)
        elif isinstance(node, ast.ImportFrom) and node.module.startswith("utils.plotting."):
            names |= set(imported)
        elif any(name.startswith(("matplotlib", "seaborn")) for name in imported):
            assert ast.unparse(node) == "import matplotlib.pyplot as plt"
        else:
            assert not str(getattr(node, "module", "")).startswith("matplotlib")
    attributes = [n for n in ast.walk(tree) if isinstance(n, ast.Attribute)]
    of = {module: set() for module in ("plt", *modules)}
    for node in attributes:
        if isinstance(node.value, ast.Name) and node.value.id in of:
            of[node.value.id].add(node.attr)
    assert of.pop("plt") <= {"show"}
    drawn = names.union(*of.values()) - {"Figures"}
    assert drawn <= set(figure_functions()) and drawn


NAMES = ["猫", "いぬ", "고양이", "ลิง", "😀 happy", "plain"]


CHINESE = ["飛機", "汽車", "鳥", "鹿", "青蛙", "卡車"]


@pytest.mark.parametrize(
    "names", [NAMES, *(pytest.param(n, marks=pytest.mark.slow) for n in (CHINESE, ["\x1b"] * 6))]
)
def test_letters_that_no_font_has_are_no_boxes(names, recwarn, tmp_path, monkeypatch):
    monkeypatch.setattr(fonts, "FAMILIES", ["DejaVu Sans"])  # as where nothing else is installed
    fonts._has.cache_clear()
    y, images = np.arange(6), np.zeros((6, 4, 4, 1))
    figures = [
        class_counts({"training": [1] * 6}, names),
        confusion_matrix(y, y, names),
        adversarial_examples(images, images, y, y, y, np.array(["FGSM"] * 6), names),
        image_grid(images, names),
        retraining_curves(table(datasets=(names[0],))),
        all_curves(table(datasets=(names[1],))),
    ]
    for number, figure in enumerate(figures):
        shown = " ".join(texts(figure))
        assert all(map(fonts.can_draw, texts(figure)))
        assert "that no font on this machine has" in shown
        assert number > 2 or "class 1" in shown
        save_figure(figure, tmp_path, f"figure_{number}")
    assert not [w for w in recwarn.list if "lyph" in str(w.message) or "font" in str(w.message)]
    assert names[0].encode("unicode_escape").decode() in " ".join(texts(figures[3]))
    fonts._has.cache_clear()


def test_letters_that_a_font_has_stay(recwarn):
    names = ["chat", "Ärger", "кошка", "γάτα", "naïve ≤ 3"]
    figure = class_counts({"training": [1] * 5}, names)
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == names
    assert not any("no font" in text for text in texts(figure)) and not recwarn.list


def test_an_installed_font_of_the_list_is_used(monkeypatch):
    """A font that has the letter stands for one with Chinese letters: none comes with the tests."""
    monkeypatch.setattr(fonts, "FAMILIES", ["cmr10"])
    fonts._has.cache_clear()
    assert not fonts.can_draw("кошка")
    monkeypatch.setattr(fonts, "FAMILIES", ["cmr10", "DejaVu Sans"])
    fonts._has.cache_clear()
    assert fonts.can_draw("кошка") and fonts.drawable("кошка") == "кошка"
    fonts._has.cache_clear()
    assert STYLE["font.family"][0] == "DejaVu Sans"
    assert set(STYLE["font.family"][1:]) <= set(mpl.font_manager.get_font_names())
