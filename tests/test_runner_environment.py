"""What a user's or a site's settings may not change: numbers, figures, whether it runs at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import matplotlib as mpl
import numpy as np
import pytest

from tests.conftest import ROOT, run_all
from tests.notebooks import make_job, printed, run_jobs
from utils.core.paths import Workspace
from utils.plotting import style
from utils.runner import environment, worker

HOSTILE_HOME = {
    ".keras/keras.json": json.dumps(
        {"image_data_format": "channels_first", "floatx": "float16", "epsilon": 0.1,
         "backend": "jax", "nnx_enabled": True}
    ),
    ".ipython/profile_default/ipython_config.py": (
        "c.InteractiveShellApp.exec_lines = ['1 / 0']\n"
        "c.InteractiveShellApp.extensions = ['no_such_extension']\n"
        "c.InlineBackend.figure_formats = {'svg'}\nc.InlineBackend.rc = {'figure.dpi': 30}\n"
        "c.InteractiveShell.ast_node_interactivity = 'all'"
    ),
    ".ipython/profile_default/ipython_kernel_config.py": "c.IPKernelApp.matplotlib = 'qt'",
    ".ipython/profile_default/startup/a.py": "dataset = round = None\nimport no_such_module",
    ".config/matplotlib/matplotlibrc": "text.usetex: True\nlines.linewidth: 9\nsavefig.dpi: 20",
    ".config/dask/broken.yaml": "distributed: [not: {closed",
    ".jupyter/jupyter_config.py": "raise SystemExit('jupyter_config.py')",
    ".jupyter/jupyter_nbconvert_config.json": "{",
    ".local/share/jupyter/kernels/python3/kernel.json": '{"argv": ["/bin/false"], "language": "r"}',
    ".local/share/jupyter/nbconvert/templates/lab/index.html.j2": "{{ nothing }}",
    ".local/share/jupyter/nbconvert/templates/base/null.j2": "hijacked",
    ".codecarbon.config": "[codecarbon]\nforce_cpu_power = 9999\npue = 50\n",
    "modules/numpy.py": "raise ImportError('not this numpy')",
    "modules/sitecustomize.py": "raise ImportError('not this one either')",
    "startup.py": "raise SystemExit('startup.py')",
}  # fmt: skip
"""Files in the home that would break a run, or change its numbers or pictures."""

HOSTILE_VARIABLES = {
    "PYTHONPATH": "{home}/modules", "PYTHONSAFEPATH": "1", "PYTHONWARNINGS": "error",
    "PYTHONSTARTUP": "{home}/startup.py", "PYTHONOPTIMIZE": "2", "PYTHONINSPECT": "1",
    "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONDEVMODE": "1",
    "KERAS_BACKEND": "jax", "KERAS_MAX_EPOCHS": "1", "KERAS_HOME": "{home}/.keras",
    "TF_USE_LEGACY_KERAS": "1", "TF_ENABLE_ONEDNN_OPTS": "0", "XLA_FLAGS": "--no_such_flag",
    "TF_NUM_INTRAOP_THREADS": "2", "OMP_NUM_THREADS": "3", "OMP_DYNAMIC": "true",
    "MPLBACKEND": "qtagg", "MATPLOTLIBRC": "{home}/.config/matplotlib", "IPYTHONDIR":
    "{home}/.ipython", "JUPYTER_CONFIG_DIR": "{home}/.jupyter", "JUPYTER_PATH":
    "{home}/.local/share/jupyter", "XDG_CONFIG_HOME": "{home}/.config",
    "DASK_DISTRIBUTED__DASHBOARD__LINK": "https://{{JUPYTERHUB_HOST}}/proxy/{{port}}",
    "DASK_DISTRIBUTED__SCHEDULER__PRELOAD": "no_such_module",
    "DASK_DISTRIBUTED__WORKER__PRELOAD": "no_such_module",
    "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true",
    "DASK_CONFIG": "{home}/.config/dask", "CODECARBON_FORCE_CPU_POWER": "9999",
    "GIT_DIR": "{home}", "LC_ALL": "C",
}  # fmt: skip


def hostile(home):
    """Fill a home; return the variables that go with it."""
    for name, text in HOSTILE_HOME.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    return {"HOME": str(home)} | {
        name: value.format(home=home) for name, value in HOSTILE_VARIABLES.items()
    }


def python(script, **variables):
    """Run a script in a process of its own; return what it printed."""
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=ROOT,
        text=True,
        check=False,
        capture_output=True,
        env={**os.environ, **variables},
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def pictures(notebook):
    """All images in an executed notebook."""
    cells = json.loads(notebook.read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return [o["data"]["image/png"] for o in outputs if "image/png" in o.get("data", {})]


@pytest.mark.slow
def test_a_hostile_home_changes_not_a_bit(tmp_path):
    (tmp_path / "empty").mkdir()
    variables = {"clean": {"HOME": str(tmp_path / "empty")}, "hostile": hostile(tmp_path / "home")}
    found = {}
    for name, changed in variables.items():
        workspace = Workspace(tmp_path / name)
        options = ["--preset", "smoke", "--steps", 0, 1, "--attacks", "fgsm"]
        result = run_all(
            *options, "--workspace", workspace.root, cwd=tmp_path, env={**os.environ, **changed}
        )
        assert result.returncode == 0, result.stdout + result.stderr
        assert "Dashboard: http://127.0.0.1:" in result.stdout
        with np.load(save_weights(workspace, tmp_path / f"{name}.npz")) as weights:
            found[name] = {"weights": [weights[key].tobytes() for key in weights.files]}
        for path in sorted(workspace.root.glob("data/**/*.npy")):
            found[name][str(path.relative_to(workspace.root))] = path.read_bytes()
        for path in sorted(workspace.root.glob("reports/**/[!.]*.ipynb")):
            found[name][path.name] = pictures(path)
            record = json.loads(path.with_suffix(".json").read_text())
            found[name][f"energy of {path.name}"] = record["resources"]["energy_method"]
            found[name][f"commit of {path.name}"] = record["provenance"]["git"]
            assert "hijacked" not in path.with_suffix(".html").read_text()
    assert found["clean"].keys() == found["hostile"].keys() and len(found["clean"]) > 12
    for key, value in found["clean"].items():
        assert value == found["hostile"][key], key


def save_weights(workspace, path):
    """The original model's weights in a file that holds no times."""
    python(
        f"""
        import numpy
        from utils.networks import files, runtime
        runtime.start()
        model = files.load({str(workspace.original_model("digits", 0))!r})
        numpy.savez({str(path)!r}, *model.get_weights())
        """
    )
    return path


@pytest.mark.slow
@pytest.mark.parametrize("forked", [True, False])
def test_kernels_start_from_nothing(tmp_path, monkeypatch, forked):
    for name, value in hostile(tmp_path / "home").items():
        if name not in ("PYTHONPATH", "DASK_CONFIG"):  # the tests' own process has begun
            monkeypatch.setenv(name, value)
    if not forked:
        monkeypatch.setattr(worker, "ForkServer", refuse)
    look = (
        "import os, sys, matplotlib as mpl\nfrom IPython import get_ipython\n"
        "print(mpl.get_backend(), mpl.rcParams['lines.linewidth'], 'dataset' in dir())\n"
        "print(sys.flags.optimize, sys.flags.utf8_mode, sys.warnoptions)\n"
        "print(sorted(n for n in os.environ if n.startswith(('TF_U', 'XLA', 'DASK', 'CODEC'))))\n"
        "print(os.environ['HOME'], os.path.exists(os.environ['IPYTHONDIR']))\n"
        "print(get_ipython().ast_node_interactivity)"
    )
    job = make_job(tmp_path, "job", look)
    job.workspace.root.mkdir()
    assert run_jobs(job)[job.name].state == "done"
    backend, width, leaked, optimize, utf8, warn, *names, home, there, shown = printed(job)
    assert "inline" in backend and (width, leaked) == ("1.5", "False")
    assert (optimize, utf8, warn) == ("0", "1", "[]")
    assert " ".join(names) == "['DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION']"
    assert (home, there, shown) == (str(tmp_path / "home"), "True", "last_expr")


def refuse(network, environment):
    raise OSError


def test_what_is_taken_is_a_list():
    given = {
        "HTTPS_PROXY": "p",
        "CUDA_VISIBLE_DEVICES": "1",
        "TMPDIR": "/t",
        "KAGGLE_KEY": "k",
        "LC_TIME": "de_DE",
        "DASK_DISTRIBUTED__COMM__TLS__CA_FILE": "/ca.pem",
        "PATH": "/bin",
    }
    others = {
        "PYTHONPATH": "/x",
        "TF_DETERMINISTIC_OPS": "0",
        "DASK_TEMPORARY_DIRECTORY": "/x",
        "KERAS_HOME": "/x",
        "MKL_CBWR": "AVX2",
        "NUMEXPR_MAX_THREADS": "2",
    }
    assert environment.cleaned(given | others) == given | environment.OWN
    assert environment.cleaned(environment.cleaned(given)) == environment.cleaned(given)
    readme = (ROOT / "docs" / "running.md").read_text()
    for name in ("`HTTPS_PROXY`", "`CUDA_VISIBLE_DEVICES`", "`TMPDIR`", "`PYTHONPATH`"):
        assert name in readme, name


def test_a_run_starts_over_once_only(tmp_path):
    site = tmp_path / "sitecustomize.py"
    site.write_text("import os\nos.environ['SET_WHENEVER_PYTHON_STARTS'] = '1'")
    script = (
        "import os, runpy, sys\nfrom utils.runner.environment import start_over\nstart_over()\n"
        "print(os.getpid(), sorted(n for n in os.environ if n.startswith(('SET_', 'RUN_'))))"
    )
    path = tmp_path / "script.py"
    path.write_text(
        f"import sys, os\nsys.path.insert(0, {str(ROOT)!r})\n"
        f"os.environ['SET_WHENEVER_PYTHON_STARTS'] = '1'\n{script}"
    )
    process = subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE, text=True)
    said, _ = process.communicate(timeout=30)
    assert said.split(maxsplit=1) == [str(process.pid), "[]\n"]


DASK = """
    import os
    from utils.runner.dask_defaults import use_defaults
    use_defaults({own})
    import dask, distributed
    names = ("distributed.dashboard.link", "distributed.scheduler.preload", "temporary-directory",
             "distributed.comm.require-encryption", "distributed.comm.tls.ca-file")
    print([dask.config.get(name, None) for name in names], "HOME" in os.environ)
"""


def dask_home(tmp_path, text):
    path = tmp_path / ".config" / "dask" / "mine.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return {"HOME": str(tmp_path), "DASK_TEMPORARY_DIRECTORY": "/nowhere"}


@pytest.mark.parametrize("own", [False, True])
def test_of_dask_only_the_keys_of_an_own_cluster_are_taken(tmp_path, own):
    variables = dask_home(
        tmp_path,
        "distributed: {dashboard: {link: '{NONE}'}, scheduler: {preload: [none]}, comm: "
        "{require-encryption: true, tls: {ca-file: /ca.pem}}}",
    )
    default = "{scheme}://{host}:{port}/status"
    taken = [True, "/ca.pem"] if own else [None, None]
    assert python(DASK.format(own=own), **variables) == f"{[default, [], None, *taken]} True"


def test_a_broken_file_of_dask_matters_for_an_own_cluster_only(tmp_path):
    variables = dask_home(tmp_path, "distributed: [")
    assert "None" in python(DASK.format(own=False), **variables)
    options = ["--workspace", tmp_path / "w", "--scheduler", "tcp://127.0.0.1:1"]
    result = run_all(*options, env={**os.environ, **variables})
    assert result.returncode == 2 and len(result.stderr.splitlines()) == 1
    assert "mine.yaml" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"image_data_format": "channels_first"},
        {"floatx": "float16"},
        {"floatx": "float64", "epsilon": 1e-3},
    ],
)
def test_keras_computes_alike_in_a_kernel_of_the_users_own(tmp_path, settings):
    (tmp_path / "keras.json").write_text(json.dumps(settings))
    said = python(
        """
        from utils.networks import runtime
        runtime.start()
        import keras
        layer = keras.layers.Conv2D(2, 3)
        print(keras.config.image_data_format(), keras.config.floatx(), keras.config.epsilon(),
              layer.data_format, layer.compute_dtype)
        """,
        KERAS_HOME=str(tmp_path),
    )
    assert said == "channels_last float32 1e-07 channels_last float32"


@pytest.mark.parametrize(
    "settings",
    [
        {"text.usetex": True},
        {"lines.linewidth": 9.0, "axes.facecolor": "black"},
        {"axes.prop_cycle": mpl.cycler(color=["red"]), "savefig.transparent": True},
    ],
)
def test_figures_do_not_heed_a_matplotlibrc(tmp_path, settings):
    import matplotlib.pyplot as plt

    @style.styled
    def draw():
        figure, axes = plt.subplots()
        axes.plot([1, 2], [3, 1])
        axes.set_title("a_b")
        return figure

    files = []
    for name, given in {"plain": {}, "set": settings}.items():
        with mpl.rc_context(given):
            files.append([p.read_bytes() for p in style.save_figure(draw(), tmp_path, name)])
            plt.close("all")
    assert files[0] == files[1]


def test_energy_does_not_heed_a_configuration_file(tmp_path):
    script = """
        from utils.machine.energy import EnergyTracker
        tracker = EnergyTracker("ESP")
        print(tracker.method, tracker._tracker._conf["pue"], tracker._tracker._conf["wue"])
    """
    (tmp_path / "home").mkdir()
    plain = python(script, HOME=str(tmp_path / "home"))
    (tmp_path / "home" / ".codecarbon.config").write_text(
        "[codecarbon]\nforce_cpu_power = 9999\npue = 50\nwue = 3\nforce_mode_cpu_load = true\n"
    )
    assert python(script, HOME=str(tmp_path / "home")) == plain
