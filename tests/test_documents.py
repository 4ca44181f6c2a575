"""The documents are true: links, names, import lines, tables, and the worked examples."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import run_all
from tests.conftest import ROOT
from tests.test_rooms import FLOORS, HANDED_ON
from utils.plan.parameters import PRESETS, all_parameters
from utils.plan.steps import STEPS

README, CONTRIBUTING = ROOT / "README.md", ROOT / "CONTRIBUTING.md"
RUNNING, DESIGN = ROOT / "docs" / "running.md", ROOT / "docs" / "design.md"
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *(ROOT / name / "README.md" for name in ("data", "models", "reports")),
    ]
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
IDS = {"ids": lambda path: path.relative_to(ROOT).as_posix()}


def prose(path: Path) -> str:
    """A document without its blocks of code."""
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def blocks(path: Path, language: str) -> list[str]:
    found = FENCE.findall(path.read_text(encoding="utf-8"))
    return [code for name, code in found if name == language]


def rows(text: str) -> list[list[str]]:
    """Cells of all tables, without marks of code."""
    lines = re.findall(r"^ *\| ?(.*) \|$", text, re.MULTILINE)
    return [[cell.strip().strip("`*") for cell in line.split(" | ")] for line in lines]


def section(path: Path, title: str) -> str:
    return re.split(r"^## ", prose(path).split(f"\n## {title}\n")[1], flags=re.MULTILINE)[0]


def anchors(path: Path) -> set[str]:
    """Of a document's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_readme_is_read_in_one_go():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150
    assert (ROOT / "docs" / "report.png").stat().st_size <= 200_000


@pytest.mark.parametrize("path", DOCUMENTS, **IDS)
def test_links_lead_somewhere(path):
    links = re.findall(r"\]\(([^)\s]+)\)", prose(path))
    for link in links:
        if link.startswith(("https://", "http://")):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_the_list_of_documents_is_whole():
    listed = re.findall(r"^- \[.*\]\((.*)\): .*\.$", prose(ROOT / "docs/README.md"), re.MULTILINE)
    assert sorted(["README.md", *listed]) == sorted(p.name for p in ROOT.glob("docs/*.md"))


@pytest.mark.parametrize("path", DOCUMENTS, **IDS)
def test_a_long_document_begins_with_its_contents(path):
    text = prose(path)
    titles = re.findall(r"^## (.*)$", text, re.MULTILINE)
    if path == README or path.name in ("CHANGELOG.md", "benchmarks.md") or not titles:
        return
    contents = re.findall(r"^- \[(.*)\]\(#.*\)$", text.split("\n## ")[0], re.MULTILINE)
    assert contents == titles


@pytest.mark.parametrize("path", DOCUMENTS, **IDS)
def test_named_files_of_the_code_exist(path):
    for name in re.findall(r"`((?:\w+/)+[\w.-]+\.(?:py|ipynb))`", prose(path)):
        assert (ROOT / name).is_file() or (ROOT / "utils" / name).is_file(), name


@pytest.mark.parametrize("path", DOCUMENTS, **IDS)
def test_import_lines_work(path):
    text = path.read_text(encoding="utf-8")
    lines = re.findall(r"^from utils\.[\w.]+ import [\w, ]+\b", text, re.MULTILINE)
    lines += [row[1] for row in rows(text) if row[0].startswith("from utils.")]
    for line in lines:
        exec(line, {})
    assert lines or path not in (README, CONTRIBUTING, ROOT / "CHANGELOG.md")


def test_the_readme_lists_what_packages_hand_on():
    imports = [node for code in blocks(README, "python") for node in ast.parse(code).body]
    listed = {node.module: {name.name for name in node.names} for node in imports}
    for room, names in HANDED_ON.items():
        assert listed[f"utils.{room}"] == names


def test_the_maps_show_the_rooms_on_their_floors():
    table = [row for row in rows(section(DESIGN, "The map")) if row[0].isdigit()]
    design = {row[1].rstrip("/"): int(row[0]) for row in table}
    floors = {room: 1 + n for n, rooms in enumerate(FLOORS) for room in rooms if room != "notebook"}
    folders = {path.parent.name for path in (ROOT / "utils").glob("*/__init__.py")}
    assert design == floors and set(floors) == folders
    assert list(design.values()) == sorted(design.values(), reverse=True)
    readme = re.findall(r"^  (\w+)/ ", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert readme == list(floors)


def test_options_and_presets_are_those_of_the_command_line():
    known = set(run_all.command_line()._option_string_actions) - {"-h", "--help"}
    assert {row[0] for row in rows(section(RUNNING, "Options")) if row[0][:2] == "--"} == known
    presets = [row[0] for row in rows(section(RUNNING, "Presets"))]
    assert presets[1:] == list(PRESETS)


def test_parameters_of_images_are_those_of_the_step():
    table = rows(section(ROOT / "docs" / "data-sets.md", "Parameters"))[1:]
    general = {"dataset", "raw", "workspace", "seed"}
    assert {row[0] for row in table} == set(all_parameters([STEPS[0].path])) - general


def test_steps_are_those_that_there_are():
    table = rows(section(ROOT / "docs" / "study.md", "The templates"))[1:]
    assert [row[0] for row in table] == [step.template.removesuffix(".ipynb") for step in STEPS]


def test_tables_list_every_metric_and_configuration():
    from utils.metrics import METRICS
    from utils.retraining.configurations import CONFIGURATIONS

    reading = ROOT / "docs" / "reading-reports.md"
    assert [row[0] for row in rows(section(reading, "Guidance metrics"))[1:]] == list(METRICS)
    table = rows(section(reading, "Configurations"))[1:]
    assert [int(row[0]) for row in table] == list(CONFIGURATIONS)


# --- the worked examples of CONTRIBUTING.md ---


def example(name: str) -> str:
    text = CONTRIBUTING.read_text(encoding="utf-8").split(f"<!-- example: {name} -->\n")[1]
    return FENCE.match(text).group(2)


@pytest.fixture
def entries():
    """The registries; what an example enters is taken out again."""
    from utils.attacks.registry import ATTACKS
    from utils.data.registry import DATASETS
    from utils.metrics import METRICS

    registries = (METRICS, ATTACKS, DATASETS)
    before = [dict(registry) for registry in registries]
    yield registries
    for registry, content in zip(registries, before, strict=True):
        registry.clear()
        registry.update(content)


def test_the_metric_of_the_example_scores_inputs(entries):
    exec(example("metric"), {})
    from utils.metrics.registry import score_all

    train = np.array([[1, 0, 0], [0.5, 0.5, 0]])
    adversarial = np.array([[0.6, 0.3, 0.1]])
    traces = np.zeros((2, 4), np.float32), np.zeros((1, 4), np.float32)
    scores, table = score_all(["margin"], traces[0], train, traces[1], adversarial)
    assert np.allclose(scores["margin"], [0, 1, 0.7])
    assert table["name"].tolist() == ["Margin"]


def test_the_attack_of_the_example_keeps_its_budget(entries):
    exec(example("attack"), {})
    from utils.attacks.adversarials import attack_summary, make_adversarials
    from utils.networks.architectures import build

    model = build("4 | 8", (8, 8, 1), 3)
    images = np.random.default_rng(0).random((20, 8, 8, 1), np.float32)
    labels = np.arange(20) % 3
    made, again = (
        make_adversarials(model, images, labels, ["noise"], 12, seed=3, epsilon=0.1)
        for _ in range(2)
    )
    assert np.array_equal(made.images, again.images)
    assert made.images.min() >= 0 and made.images.max() <= 1
    row = attack_summary(model, images, made).iloc[0]
    assert row["linf_max"] == pytest.approx(0.1, abs=1e-6)
    other = make_adversarials(model, images, labels, ["noise"], 12, seed=4, epsilon=0.1)
    assert not np.array_equal(
        made.images - images[made.source], other.images - images[other.source]
    )


def test_the_data_set_of_the_example_is_understood(entries, tmp_path):
    exec(example("data set"), {})
    from utils.data.registry import image_shape, read_raw, read_splits, split

    raw = read_raw("parity", workspace=tmp_path)
    assert raw.class_names == ["even", "odd"]
    splits, broken = read_splits(raw, split("parity", raw), image_shape("parity", raw))
    assert not broken
    assert splits.x_train.shape == (1258, 8, 8, 1)
    assert splits.x_train.max() == 1
    assert set(splits.y_test) == {0, 1}


CURVE = """
import numpy as np
from utils.networks.architectures import build
from utils.retraining.inputs import RetrainingData

rng = np.random.default_rng(0)
parts = {}
sizes = {"train": 12, "val": 4, "test": 4, "adv_train": 6, "adv_val": 4, "adv_test": 4}
for part, n in sizes.items():
    parts |= {f"x_{part}": rng.random((n, 8, 8, 1), np.float32), f"y_{part}": np.arange(n) % 2}
data = RetrainingData(**parts, attack_adv_test=np.repeat("fgsm", 4))
model = build("2 | 4", (8, 8, 1), 2)
table = curve(model, data, rng.random(18))
print(table["configuration"].unique(), table["n_inputs"].tolist())
"""


@pytest.mark.slow
def test_the_configuration_of_the_example_retrains():
    command = [sys.executable, "-c", example("configuration") + CURVE]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["[6] [0, 3, 6]"], done.stderr[-2000:]
