"""The templates' code, one job after another, in this process.

No kernels, no notebooks, no pages, one import of everything.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from utils.core.paths import Workspace
from utils.plan.jobs import plan
from utils.plan.parameters import settings


def main(preset: str, configurations: str, metrics: str, workspace: str) -> None:
    """Run all jobs on digits with the parameters that ``run_all.py`` would give them.

    `configurations` and `metrics` are separated by spaces.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.show = lambda *_, **__: plt.close("all")
    values = {"digits": settings("digits", preset, {"metrics": metrics.split()})}
    numbers = [int(number) for number in configurations.split()]
    for job in plan(Workspace(workspace), ["digits"], [0], numbers, values):
        names: dict[str, Any] = {"display": lambda *_: None, "__name__": "__main__"}
        job.report.parent.mkdir(parents=True, exist_ok=True)
        for cell in json.loads(job.step.path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] != "code":
                continue
            exec(compile("".join(cell["source"]), job.name, "exec"), names)
            if "parameters" in cell["metadata"].get("tags", []):
                names.update({**job.parameters, "workspace": job.workspace.parameter})


if __name__ == "__main__":
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # what the cells print
    main(*sys.argv[1:])
