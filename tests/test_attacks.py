"""Attacks: by hand on a linear model, budgets, Carlini-Wagner, selection and summary."""

import dataclasses

import numpy as np
import pytest
from sklearn.datasets import load_digits

from utils.attacks.adversarials import attack_summary, make_adversarials
from utils.attacks.cw import carlini_wagner
from utils.attacks.norm_ball import bim, bim_l1, bim_l2, fgsm, pgd
from utils.attacks.registry import ATTACKS
from utils.networks import architectures, runtime
from utils.networks.activations import predict
from utils.networks.ends import logits_of

EXACT = 1e-6  # rounding of float32 sums of some 64 pixels


@pytest.fixture(scope="module")
def digits():
    """A small trained model and 120 images it has not seen."""
    runtime.start(seed=0, threads=1)
    data = load_digits()
    images = (data.images[..., None] / 16).astype(np.float32)
    model = architectures.build("8 16 P | 32", (8, 8, 1), 10, learning_rate=0.003)
    model.fit(images[:1200], data.target[:1200], epochs=8, batch_size=64, verbose=0)
    return model, images[1200:1320], data.target[1200:1320]


@pytest.fixture(scope="module")
def cw(digits):
    return carlini_wagner(*digits)


def linear(weights):
    """A classifier of two pixels: logits = pixels @ weights, then soft-max."""
    import keras

    runtime.start(seed=0, threads=1)
    model = keras.Sequential(
        [
            keras.Input((1, 2, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(len(weights[0]), "softmax", use_bias=False),
        ]
    )
    model.set_weights([np.array(weights, np.float32)])
    return model


def length(change, order):
    return np.linalg.norm(change.reshape(len(change), -1), order, axis=1)


def kept_by(model):
    return model.__dict__["_kept_functions"].values()


def accuracy(model, images, labels):
    return (predict(model, images).argmax(axis=1) == labels).mean()


def test_fgsm_by_hand():
    # Cross-entropy's gradient for pixel i: sum over classes k of (p_k - y_k) w_ik. Two classes,
    # label 0: (p_0 - 1) w_i0 + p_1 w_i1 = p_1 (w_i1 - w_i0). Pixel 0: 3 - 1 > 0, so + eps;
    # pixel 1: -1 - 2 < 0, so - eps. (0.5, 0.05) + (0.1, -0.1) = (0.6, -0.05), clipped to (0.6, 0).
    model = linear([[1, 3], [2, -1]])
    image = np.array([0.5, 0.05], np.float32).reshape(1, 1, 2, 1)
    result = fgsm(model, image, np.array([0]), eps=0.1)
    np.testing.assert_allclose(result.ravel(), [0.6, 0.0], atol=1e-7)
    # Label 1 turns every sign: (0.4, 0.15).
    result = fgsm(model, image, np.array([1]), eps=0.1)
    np.testing.assert_allclose(result.ravel(), [0.4, 0.15], atol=1e-7)


# Three classes, label 0: the gradient for pixel i points along s_1 w_i1 + s_2 w_i2 - w_i0, where s
# is the soft-max over classes 1 and 2 alone. The margin's would be w_ik - w_i0, k the larger one.
# With these weights s_1 = 1 / (1 + exp(-d)) for d = z_1 - z_2 = (x0 + x1) - (-2 x0 + 7 x1)
# = 3 x0 - 6 x1. Pixel 0: s_1 - 2 s_2 = 3 s_1 - 2 > 0 iff s_1 > 2 / 3 iff d > ln 2 = 0.693.
# Pixel 1: s_1 + 7 s_2 > 0 always.
THREE = [[0, 1, -2], [0, 1, 7]]


def test_fgsm_climbs_cross_entropy_not_the_margin():
    # (0.5, 0.2): d = 1.5 - 1.2 = 0.3, so the signs are (-, +). The margin takes class 1: (+, +).
    image = np.array([0.5, 0.2], np.float32).reshape(1, 1, 2, 1)
    result = fgsm(linear(THREE), image, np.array([0]), eps=0.1)
    np.testing.assert_allclose(result.ravel(), [0.4, 0.3], atol=EXACT)


def test_two_steps_of_bim_by_hand():
    # eps 0.1 and 2 steps: steps of 2 * 0.1 / 2 = 0.1. (0.7, 0.2): d = 2.1 - 1.2 = 0.9, signs
    # (+, +), so (0.8, 0.3). There d = 2.4 - 1.8 = 0.6, signs (-, +): (0.7, 0.4), and within eps
    # (0.7, 0.3). Steps of 0.05: (0.75, 0.25), d = 2.25 - 1.5 = 0.75, so (+, +) again: (0.8, 0.3),
    # which is also where the margin would go.
    image = np.array([0.7, 0.2], np.float32).reshape(1, 1, 2, 1)
    model, label = linear(THREE), np.array([0])
    for step_size, expected in ((None, [0.7, 0.3]), (0.1, [0.7, 0.3]), (0.05, [0.8, 0.3])):
        result = bim(model, image, label, eps=0.1, steps=2, step_size=step_size)
        np.testing.assert_allclose(result.ravel(), expected, atol=EXACT)


def test_l1_and_l2_steps_by_hand():
    # As above the gradient's direction is (2, -3) for label 0. One step of length 0.1 (the default
    # 2 * eps / 1 = 0.2 is scaled back to it): L2 0.1 * (2, -3) / sqrt(13) = (0.05547, -0.08321);
    # L1 0.1 * (2, -3) / 5 = (0.04, -0.06).
    model = linear([[1, 3], [2, -1]])
    image = np.full((1, 1, 2, 1), 0.5, np.float32)
    result = bim_l2(model, image, np.array([0]), eps=0.1, steps=1)
    np.testing.assert_allclose(result.ravel(), [0.55547, 0.41679], atol=1e-5)
    result = bim_l1(model, image, np.array([0]), eps=0.1, steps=1)
    np.testing.assert_allclose(result.ravel(), [0.54, 0.44], atol=1e-6)


def test_carlini_wagner_by_hand():
    # Logits differ by 4 (x0 - x1): class 0 iff x0 > x1. From (0.8, 0.4) the nearest point of the
    # border is (0.6, 0.6), at 0.2 * sqrt(2) = 0.28284. With confidence 0.8 the other logit must
    # lead by 0.8: x1 - x0 = 0.2, so (0.5, 0.7), at 0.3 * sqrt(2) = 0.42426.
    model = linear([[2, -2], [-2, 2]])
    image = np.array([0.8, 0.4], np.float32).reshape(1, 1, 2, 1)
    for confidence, expected in ((0, 0.28284), (0.8, 0.42426)):
        result = carlini_wagner(
            model, image, np.array([0]), steps=300, binary_search_steps=8, confidence=confidence
        )
        distance = length(result - image, 2)[0]
        assert expected <= distance + EXACT and distance < 1.02 * expected
        assert predict(model, result).argmax() == 1


def test_carlini_wagner_returns_the_image_when_it_cannot_win_or_has_won():
    # The label leads by x0 + x1 + 2, as pixels are raised by 1: no image in [0, 1] can win.
    import keras

    model = linear([[1, 0], [1, 0]])
    model = keras.Sequential([keras.Input((1, 2, 1)), keras.layers.Rescaling(1, 1.0), model])
    image = np.array([0.3, 0.9], np.float32).reshape(1, 1, 2, 1)
    np.testing.assert_array_equal(carlini_wagner(model, image, np.array([0]), steps=20), image)
    # Called class 1 it is wrong to begin with.
    np.testing.assert_array_equal(carlini_wagner(model, image, np.array([1]), steps=20), image)


@pytest.mark.parametrize("eps", [0.0, 0.05, 0.7])
@pytest.mark.parametrize(
    ("attack", "order"), [(fgsm, np.inf), (bim, np.inf), (pgd, np.inf), (bim_l1, 1), (bim_l2, 2)]
)
def test_budget_and_range(digits, attack, order, eps):
    model, images, labels = digits
    result = attack(model, images, labels, eps=eps)
    assert result.shape == images.shape and result.dtype == np.float32
    assert result.min() >= 0 and result.max() <= 1
    assert length(result - images, order).max() <= eps + EXACT
    # The budget is used: clipping to [0, 1] and turns of the path take some of it at most.
    assert np.median(length(result - images, order)) >= 0.7 * min(eps, 0.5)


def test_more_budget_and_more_steps_fool_more(digits):
    model, images, labels = digits
    clean = accuracy(model, images, labels)
    assert clean > 0.85
    assert accuracy(model, fgsm(model, images, labels, eps=0.1), labels) < clean - 0.1
    for eps in (0.05, 0.1):
        one = accuracy(model, fgsm(model, images, labels, eps=eps), labels)
        assert accuracy(model, bim(model, images, labels, eps=eps), labels) <= one
    assert accuracy(model, bim(model, images, labels, eps=0.3), labels) < 0.05


def test_carlini_wagner_fools_nearly_all_with_less_than_bim(digits, cw):
    model, images, labels = digits
    right = predict(model, images).argmax(axis=1) == labels
    fooled = predict(model, cw).argmax(axis=1) != labels
    assert cw.min() >= 0 and cw.max() <= 1
    assert fooled[right].mean() >= 0.98
    np.testing.assert_array_equal(cw[~right], images[~right])
    strong = bim(model, images, labels, eps=0.2)
    both = right & fooled & (predict(model, strong).argmax(axis=1) != labels)
    assert both.sum() > 50
    assert np.median(length(cw - images, 2)[both]) <= np.median(length(strong - images, 2)[both])
    # bim_l2 with the median distance as its budget fools no more than about half.
    budget = float(np.median(length(cw - images, 2)[both]))
    limited = bim_l2(model, images, labels, eps=budget)
    assert (predict(model, limited).argmax(axis=1) != labels)[both].mean() < 0.6


def test_confidence_gives_surer_and_farther_results(digits, cw):
    model, images, labels = digits
    sure = carlini_wagner(model, images[:40], labels[:40], confidence=2.0)
    logits = logits_of(model)(sure).numpy()
    own = logits[np.arange(40), labels[:40]]
    logits[np.arange(40), labels[:40]] = -np.inf
    moved = length(sure - images[:40], 2) > 0
    assert moved.mean() > 0.9
    assert np.all((logits.max(axis=1) - own)[moved] >= 2.0)
    assert length(sure - images[:40], 2).mean() > length(cw[:40] - images[:40], 2).mean()


def test_saturated_probabilities_still_give_a_gradient(digits):
    model, images, labels = digits
    loud = architectures.build("8 16 P | 32", (8, 8, 1), 10)
    *body, kernel, bias = model.get_weights()
    loud.set_weights([*body, 1000 * kernel, 1000 * bias])
    assert np.mean(predict(loud, images).max(axis=1) == 1) > 0.9  # float32 has nothing left
    # Scaling the logits leaves FGSM's sign as it is, except for the weights of the other classes,
    # of which the nearest takes all.
    changed = fgsm(loud, images, labels) != images
    assert changed.mean() > 0.7
    assert accuracy(loud, bim(loud, images, labels, eps=0.3), labels) < 0.05
    right = predict(loud, images).argmax(axis=1) == labels
    result = carlini_wagner(loud, images, labels)
    assert (predict(loud, result).argmax(axis=1) != labels)[right].mean() >= 0.95


@pytest.mark.parametrize("attack", list(ATTACKS))
def test_same_call_same_result_whatever_the_batch_and_the_model_stays(digits, attack):
    model, images, labels = digits
    run, before = ATTACKS[attack].function, model.get_weights()
    options = {"steps": 20} if attack == "cw" else {}
    first = run(model, images[:30], labels[:30], **options)
    np.testing.assert_array_equal(run(model, images[:30], labels[:30], **options), first)
    small = run(model, images[:30], labels[:30], batch_size=7, **options)
    # Rounding may flip the sign of a gradient that is nearly 0, hence not every pixel is compared.
    assert np.mean(np.abs(small - first) > 1e-3) < 0.01
    for one, two in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_pgd_starts_from_the_seed(digits):
    model, images, labels = digits
    first, second = (pgd(model, images, labels, steps=1, step_size=0.001, seed=s) for s in (1, 2))
    assert not np.allclose(first, second, atol=0.01)


def test_streams_of_one_seed_share_no_noise(digits):
    model, _, labels = digits
    grey = np.full((120, 8, 8, 1), 0.5, np.float32)
    seeds = (3, [3, 0], [3, 1], [4, 0])
    # Steps of length 0: the results are the starts.
    starts = [pgd(model, grey, labels, steps=1, step_size=0, seed=seed).ravel() for seed in seeds]
    assert (np.abs(np.corrcoef(starts) - np.eye(4)) < 0.05).all()  # standard deviation 0.011
    made = [
        make_adversarials(model, grey, labels, ["pgd"], seed=3, stream=stream) for stream in (0, 1)
    ]
    assert (made[0].source == made[1].source).mean() < 0.1
    for stream, one in enumerate(made):
        again = pgd(model, grey[one.source], labels[one.source], seed=[3, stream])
        np.testing.assert_array_equal(one.images, again)


def test_make_adversarials_draws_and_shares_out(digits):
    model, images, labels = digits
    made = make_adversarials(
        model, images, labels, ["fgsm", "bim", "cw"], n=11, seed=3, epsilon=0.2, cw_steps=20
    )
    # 11 over 3: 4, 4, 3.
    assert made.attack.tolist() == ["fgsm"] * 4 + ["bim"] * 4 + ["cw"] * 3
    assert made.attack.dtype.kind == "U" and made.labels.dtype == np.int64
    assert len(set(made.source.tolist())) == 11
    np.testing.assert_array_equal(made.labels, labels[made.source])
    expected = fgsm(model, images[made.source[:4]], labels[made.source[:4]], eps=0.2)
    np.testing.assert_array_equal(made.images[:4], expected)
    fooled = model.predict(made.images, verbose=0).argmax(axis=1) != made.labels
    np.testing.assert_array_equal(made.success, fooled)
    again = make_adversarials(model, images, labels, ["fgsm"], n=11, seed=3)
    np.testing.assert_array_equal(again.source, made.source)
    other = make_adversarials(model, images, labels, ["fgsm"], n=11, seed=4)
    assert not np.array_equal(other.source, made.source)
    everything = make_adversarials(model, images, labels, ["fgsm"])
    assert sorted(everything.source) == list(range(len(images)))


def test_summary_by_hand():
    # Class 0 iff x0 >= x1. Labels all 0. (0.9, 0.1) right, (0.1, 0.9) wrong, (0.52, 0.5) right.
    # FGSM with eps 0.05 moves by (-0.05, +0.05): right, wrong, wrong. Accuracy 2/3, then 1/3; of
    # the two that were right one is fooled: 1/2. L2 0.05 * sqrt(2), L1 0.1.
    model = linear([[2, -2], [-2, 2]])
    images = np.array([[0.9, 0.1], [0.1, 0.9], [0.52, 0.5]], np.float32).reshape(3, 1, 2, 1)
    made = make_adversarials(model, images, np.zeros(3, int), ["fgsm"], epsilon=0.05)
    (row,) = attack_summary(model, images, made).to_dict("records")
    assert (row["attack"], row["norm"], row["n"]) == ("fgsm", "Linf", 3)
    assert row["accuracy_clean"] == pytest.approx(2 / 3)
    assert row["accuracy_adversarial"] == pytest.approx(1 / 3)
    assert row["success_rate"] == pytest.approx(1 / 2)
    assert row["l2_mean"] == pytest.approx(0.0707107, abs=1e-6)
    assert row["linf_max"] == pytest.approx(0.05, abs=1e-6)
    assert row["l1_mean"] == pytest.approx(0.1, abs=1e-6)
    assert row["seconds_per_1000"] == pytest.approx(1000 * row["seconds"] / 3)
    assert row["seconds"] > 0
    assert row["energy_kwh"] >= 0 and row["energy_method"]


@pytest.mark.parametrize("name", ["fgsm", "cw"])
def test_compilation_is_not_measured(name, digits, monkeypatch):
    """Even if the first image fools the network before, so that nothing is done with it."""
    trained, images, labels = digits
    model = architectures.build("8 16 P | 32", (8, 8, 1), 10)  # nothing of it is compiled
    model.set_weights(trained.get_weights())
    first = make_adversarials(trained, images, labels, [name], n=5).source[0]
    labels = predict(trained, images).argmax(axis=1)
    labels[first] = (labels[first] + 1) % 10
    entry, traces = ATTACKS[name], []

    def attack(model, images, labels, **options):
        result = entry.function(model, images, labels, **options)
        functions = [f for f in kept_by(model) if hasattr(f, "experimental_get_tracing_count")]
        traces.append((len(images), sum(f.experimental_get_tracing_count() for f in functions)))
        return result

    monkeypatch.setitem(ATTACKS, name, dataclasses.replace(entry, function=attack))
    made = make_adversarials(model, images, labels, [name], n=5)
    assert [n for n, _ in traces] == [1, 5] and made.source[0] == first
    assert traces[0][1] == traces[1][1] > 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x[..., 0], y), r"images: expected shape \(n, 8, 8, 1\)"),
        (lambda x, y: ((x * 255).astype(np.uint8), y), "got uint8; divide integers by 255"),
        (lambda x, y: (x * 2, y), r"images: expected values in \[0, 1\]"),
        (lambda x, y: (x * np.nan, y), r"images: expected values in \[0, 1\]"),
        (lambda x, y: (x, y[:-1]), r"labels: expected integers of shape \(120,\)"),
        (lambda x, y: (x, np.eye(10)[y]), r"pass labels.argmax\(axis=1\)"),
        (lambda x, y: (x, y + 1), "labels: expected 0 to 9"),
    ],
)
def test_input_errors(digits, change, message):
    model, images, labels = digits
    for attack in (fgsm, carlini_wagner):
        with pytest.raises(ValueError, match=message):
            attack(model, *change(images, labels))


def test_option_errors(digits):
    with pytest.raises(ValueError, match="eps: expected at least 0, got -1"):
        fgsm(*digits, eps=-1)
    with pytest.raises(ValueError, match="steps: expected at least 1"):
        bim(*digits, steps=0)
    with pytest.raises(ValueError, match="confidence: expected at least 0"):
        carlini_wagner(*digits, confidence=-1)
    make = make_adversarials
    with pytest.raises(ValueError, match=r"attacks: expected different ids.*got \['deepfool'\]"):
        make(*digits, ["deepfool"])
    with pytest.raises(ValueError, match=r"options: expected some of .*epsilon.* got .'eps'"):
        make(*digits, ["fgsm"], eps=0.1)
    with pytest.raises(ValueError, match="stream: expected at least 0, got -1"):
        make(*digits, ["fgsm"], stream=-1)
    with pytest.raises(ValueError, match=r"n: expected from 1 .* to 120 .*, got 121"):
        make(*digits, ["fgsm"], n=121)
