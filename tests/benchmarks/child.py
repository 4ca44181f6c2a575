"""Some benchmarks, in this process: ``... OUT QUICK ANSWER FUNCTION ...``."""

from __future__ import annotations

import importlib
import json
import sys
import time
import traceback
from dataclasses import asdict
from pathlib import Path

from tests.benchmarks.harness import Setting, tell


def main(out: str, quick: str, answer: str, *functions: str) -> None:
    """Call each function and write its rows and notes as JSON; nothing of one that fails."""
    outcomes = {}
    for function in functions:
        begin = time.monotonic()
        module, _, name = function.partition(":")
        tell(f"{name} ...")
        try:
            measure = getattr(importlib.import_module(module), name)
            rows, notes = measure(Setting(Path(out), quick == "1"))
        except Exception:  # whatever it is: the table says that it failed, and others go on
            traceback.print_exc()
            tell(f"{name}: failed")
            continue
        outcomes[function] = {"rows": [asdict(row) for row in rows], "notes": notes}
        Path(answer).write_text(json.dumps(outcomes), encoding="utf-8")
        tell(f"{name}: done, {time.monotonic() - begin:.0f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
