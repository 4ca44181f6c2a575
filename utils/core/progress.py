"""Lines of progress: templates print them, `run_all.py` shows the newest."""

from __future__ import annotations

from utils.core.text import readable

PROGRESS_MARK = "→ "


def progress(text: str) -> None:
    """Say how far a template is; ``run_all.py`` shows the newest such line.

    The last line of a template is its main number on the index page.
    """
    print(f"{PROGRESS_MARK}{readable(text)}", flush=True)
