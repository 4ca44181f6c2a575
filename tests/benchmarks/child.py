"""One benchmark, in this process: ``... FUNCTION OUT QUICK ANSWER``."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

from tests.benchmarks.harness import Setting


def main(function: str, out: str, quick: str, answer: str) -> None:
    """Call the function and write its rows and notes as JSON."""
    module, _, name = function.partition(":")
    rows, notes = getattr(importlib.import_module(module), name)(Setting(Path(out), quick == "1"))
    content = {"rows": [asdict(row) for row in rows], "notes": notes}
    Path(answer).write_text(json.dumps(content), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
