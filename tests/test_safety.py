"""Names and values that a stranger chose are data everywhere: in notebooks, pages, figures."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.notebooks import write_template
from tests.pictures import tree, write_folder
from utils.core.files import read_json
from utils.core.paths import Workspace
from utils.core.text import readable
from utils.data.arrays import describe
from utils.data.raw.pool import decode_all
from utils.data.raw.sources import open_raw
from utils.plan.jobs import Job
from utils.plan.steps import Step
from utils.plotting.adversarial import adversarial_examples
from utils.plotting.images import class_counts, image_grid
from utils.plotting.networks import confusion_matrix
from utils.plotting.style import save_figure
from utils.reports.index import write_index
from utils.reports.pages import Links
from utils.runner.execution import execute

VALUES = [
    "'", '"', '"""', "'''", "\\", "\\\\'", '\\"', "a\nb", "\r\n\t\0\x1b[2J", "\u2028\u2029",
    "\\u2028", "{braces} {{}} {0} {workspace}", "%s ${HOME} $(touch own) `touch own`", "größe 日本",
    "<script>alert(1)</script>", "</td></table><img src=x onerror=alert(1)>", "# no comment",
    "__import__('pathlib').Path('own').touch()", "' + __import__('os').system('touch own') + '",
    '"); __import__("pathlib").Path("own").touch(); ("', "\n__import__('os').mkdir('own')",
    "{{ 7 * 7 }} {% raw %}", "\\N{BULLET} \\x41", "raw=1 # ", "\u202eevil",
]  # fmt: skip
NAMES = [
    "$x$",
    "$\\frac$",
    "a_b^c",
    "<b>bold",
    "<script>alert(1)",
    "\x1b[2Jcleared",
    "two\nlines",
    "\u202etxt.exe",
    "a" * 300,
    "&amp;",
    "-->",
    "\udcff",
    "{0}",
    "größe",
]


def test_parameters_arrive_in_a_notebook_as_they_are_and_run_no_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = {f"value_{i}": value for i, value in enumerate(VALUES)} | {"values": VALUES}
    cell = "import json\nfrom pathlib import Path\nhere = vars()\n"
    cell += "found = {n: here[n] for n in names}\n"
    cell += "Path(workspace, 'found.json').write_text(json.dumps(found))"
    declared = [f'{name}: str = ""  # a value' for name in given if name != "values"]
    declared += [f"{name}: list = []  # all" for name in ("names", "values")]
    declared += ['workspace: str = ""  # where']
    template = write_template(tmp_path / "templates" / "echo.ipynb", "\n".join(declared), cell)
    workspace = Workspace(tmp_path / "work {space}")
    job = Job(
        Step("0.0", "echo", str(template), "echo", (), False),
        workspace,
        {**given, "names": [*given]},
        workspace.reports("digits") / "echo",
        (),
        ("found.json",),
        (),
        (),
    )
    assert execute(job, Links(), "a run")["error"] is None
    assert read_json(workspace.root / "found.json") == given
    page = job.file(".html").read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page and "<img src=x" not in page
    assert "<td>&lt;script&gt;alert(1)&lt;/script&gt;</td>" in page
    assert not list(tmp_path.rglob("own"))


@pytest.fixture
def raw(tmp_path):
    """A folder of classes with such names, as far as folders may have them."""
    return open_raw(write_folder(tmp_path / "in", tree(classes=[n[:99] for n in NAMES])))


def test_names_of_classes_are_one_readable_line(raw, tmp_path):
    for name in raw.class_names:
        assert name.isprintable() and len(name) <= 100 and name.encode()
    assert {r"\x1b[2Jcleared", r"two\nlines", r"\u202etxt.exe", r"\udcff"} <= {*raw.class_names}
    np.savez(
        tmp_path / "a.npz",
        x=np.zeros((90, 6, 6)),
        y=np.arange(90) % 3,
        class_names=np.array(["b" * 9999, "a\nb", "\x00c"]),
    )
    names = open_raw(tmp_path / "a.npz").class_names
    assert names == ["b" * 49 + "…" + "b" * 50, r"a\nb", r"\x00c"]


@pytest.mark.slow
def test_figures_draw_names_as_they_are(raw, tmp_path):
    names, n = raw.class_names, len(raw.class_names)
    labels = np.arange(n)
    images = np.zeros((n, 4, 4, 1))
    figures = [
        class_counts({"train": labels}, names),
        image_grid(images, names),
        confusion_matrix(labels, labels, names),
        adversarial_examples(
            images, images, labels, labels, labels, np.array(["fgsm"] * n), names, per_attack=n
        ),
    ]
    for number, figure in enumerate(figures):
        svg = save_figure(figure, tmp_path, f"figure_{number}")[0].read_text(encoding="utf-8")
        assert "$x$" in svg and "\x1b" not in svg
        assert "<script>" not in svg and "<b>" not in svg


def test_broken_images_are_named_readably():
    broken, _ = decode_all(
        [(0, b"")], (4, 4, 1), np.empty((1, 4, 4, 1), np.float32), lambda _: "a\n\x1b[2J<b>.png", 1
    )
    assert broken[0].name == r"a\n\x1b[2J<b>.png"
    table = pd.DataFrame(broken.values(), columns=["not decoded", "reason"])
    assert "&lt;b&gt;" in table.to_html() and "<b>" not in table.to_html()


def test_text_is_made_readable():
    assert readable("größe 日本\u3000🙂 \\n") == "größe 日本\u3000🙂 \\n"
    assert readable("a\nb\x1b\u200b\u202e\udcff\0") == r"a\nb\x1b\u200b\u202e\udcff\x00"
    assert readable(readable("a\nb" * 999, 100), 100) == readable("a\nb" * 999, 100)
    assert readable("a" * 60 + "b" * 60, 100) == "a" * 49 + "…" + "b" * 50


RECORD = {"name": "a job", "step": "0.0", "state": "done", "dataset": "digits", "says": "fine"}
DEEP = b"[" * 9999
NONSENSE = {
    "html": {"says": "<script>x</script>", "state": '"><script>x</script>', "name": "<b>"},
    "shown": {"says": "<script>x</script>", "step": "<b>", "name": "<b>"},
    "shown error": {"state": "failed", "error": {"section": "<b>", "error": "<script>x</script>"}},
    "error": {"state": "failed", "error": "no mapping", "name": "<script>x</script>"},
    "errors": {"state": "failed", "error": {"cell": ["<b>"], "section": {}, "error": 7}},
    "resources": {"resources": ["a"]},
    "numbers": {"resources": {"wall_seconds": "a", "energy_kwh": 1e999, "memory_peak_mb": 10**400}},
    "away": {"dataset": "../../away"},
    "data set": {"dataset": ["a"]},
    "name": {"name": {"a": 1}},
    "states": {"state": None, "step": 3},
    "says": {"says": "a" * 10**6 + "\x1b\udcff"},
    "seed": {"seed": {"<b>": "</td>"}},
}


def test_the_index_survives_records_of_any_content(tmp_path):
    workspace = Workspace(tmp_path)
    folder = workspace.reports("digits")
    for name, changes in NONSENSE.items():
        write_folder(folder, {f"{name}.json": json.dumps(RECORD | changes).encode()})
    write_folder(
        folder,
        {
            "good.json": json.dumps(RECORD).encode(),
            "javascript:x.json": json.dumps(RECORD).encode(),
            "javascript:x.html": b"",
            "list.json": b"[]",
            "deep.json": DEEP,
            "binary.json": b"\xff",
        },
    )
    os.mkfifo(folder / "pipe.json")
    (folder / "folder.json").mkdir()
    for content in (b"[1]", b"{", DEEP, b'{"text": ["<script>"]}', b'{"text": "<script>"}'):
        (workspace.reports_root / "recommendation.json").write_bytes(content)
        page = write_index(workspace).read_text(encoding="utf-8")
    assert "fine" in page and "&lt;script&gt;" in page and "away" not in page
    assert "<script" not in page and "<b>" not in page and len(page) < 50_000
    links = re.findall(r'(?:href|src)="([^"]*)"', page)
    assert "digits/javascript%3Ax.html" in links and not any(":" in link for link in links)


@pytest.mark.parametrize(
    "content",
    [b"[]", b"{}", b"7", DEEP, b'{"class_names": "ab", "image_shape": [8, 8], "n_images": {}}',
     b'{"class_names": ["a"], "image_shape": [8, 8, 1], "n_images": {"train": "1"}}'],
    ids=range(6),
)  # fmt: skip
def test_a_description_must_be_what_step_0_writes(tmp_path, content):
    write_folder(tmp_path, {"data/mine/dataset.json": content})
    with pytest.raises(ValueError, match=r"run step 0\.0 again with --force"):
        describe("mine", tmp_path)


def test_every_array_is_loaded_without_pickle():
    root = Path(__file__).parent.parent
    for path in (*root.glob("utils/**/*.py"), *root.glob("notebooks/*.ipynb")):
        calls = re.findall(r"np\.load\(.*", path.read_text(encoding="utf-8"))
        assert all("allow_pickle=False" in call for call in calls), path
