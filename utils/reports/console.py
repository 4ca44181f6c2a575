"""What the terminal shows: the plan, one line a job while it runs, and a closing table."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console as Terminal
from rich.live import Live
from rich.table import Table
from rich.text import Text

from utils.core.paths import Workspace
from utils.core.text import readable
from utils.plan.freshness import UP_TO_DATE
from utils.plan.records import State, read_record
from utils.reports.pages import amount

if TYPE_CHECKING:
    from pathlib import Path

    from utils.plan.jobs import Job
    from utils.plan.records import Outcome

HEARTBEAT_SECONDS = 30
COLOURS = {
    State.DONE: "green",
    State.UP_TO_DATE: "dim",
    State.FAILED: "bold red",
    State.NOT_RUN: "yellow",
    State.INTERRUPTED: "yellow",
    State.RUNNING: "cyan",
}


def clock(seconds: float) -> str:
    """``"1:05"``: minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def plan_table(jobs: Sequence[Job], states: Mapping[str, str]) -> None:
    """Show for each job whether it would run, and why."""
    for job in jobs:
        verdict = "skip" if states[job.name] == UP_TO_DATE else "run "
        print(f"{verdict}  {job.name}  ({states[job.name]})")
    n = sum(state != UP_TO_DATE for state in states.values())
    print(f"{n} of {len(jobs)} jobs would run.")


def _jobs(n: int) -> str:
    return f"{n} job{'s' * (n != 1)}"


class Console:
    """Shows a run: on a terminal running jobs are redrawn in place, elsewhere a line an event.

    Parameters
    ----------
    jobs : sequence of Job
    states : mapping of str to str
        For each job "up to date", or why it would run.
    """

    def __init__(self, jobs: Sequence[Job], states: Mapping[str, str]) -> None:
        self.states = states
        self.finished: set[str] = set()
        self.started: dict[str, float] = {}
        self.begin = self.last_heartbeat = time.monotonic()
        self.terminal = Terminal(highlight=False, soft_wrap=True)
        self.live = None
        skipped = sum(state == UP_TO_DATE for state in states.values())
        self.n_waiting = len(jobs) - skipped
        if not self.n_waiting:
            self.terminal.print(
                f"All {skipped} jobs are up to date." if skipped != 1 else "The job is up to date."
            )
            return
        self.terminal.print(f"{_jobs(len(jobs))}, {skipped} of them up to date.")
        if self.terminal.is_terminal:
            self.live = Live(console=self.terminal, refresh_per_second=4, transient=True)
            self.live.start()

    def show(self, outcomes: Mapping[str, Outcome], running: Mapping[str, str]) -> None:
        """Called several times a second with how jobs ended, and the last lines of others."""
        now = time.monotonic()
        for name in running:
            if name not in self.started:
                self.started[name] = now
                if not self.live:
                    self._line(State.RUNNING, name, "", f"why: {self.states[name]}")
        for name, outcome in outcomes.items():
            if name not in self.finished:
                self.finished.add(name)
                self._line(outcome.state, name, clock(outcome.seconds), outcome.detail)
        if self.live:
            self.live.update(self._running_table(running, now))
        elif running and now - self.last_heartbeat > HEARTBEAT_SECONDS:
            self.last_heartbeat = now
            for name, said in running.items():
                self._line(State.RUNNING, name, clock(now - self.started[name]), said)

    def say(self, text: str) -> None:
        """Something about the run as a whole."""
        self.terminal.print(Text(text))

    def close(self) -> None:
        """Stop redrawing."""
        if self.live:
            self.live.stop()

    def _line(self, state: State, name: str, elapsed: str, detail: str) -> None:
        text = Text.assemble((f"{state:<11}", COLOURS[state]), f"{elapsed:>6}  {name}")
        self.terminal.print(text.append(f"  {detail}" if detail else ""))

    def _running_table(self, running: Mapping[str, str], now: float) -> Table:
        table = Table.grid(padding=(0, 2))
        for name, said in running.items():
            table.add_row(
                Text(State.RUNNING, COLOURS[State.RUNNING]),
                clock(now - self.started[name]),
                name,
                Text(said),
            )
        table.add_row(
            "", clock(now - self.begin), f"{len(self.finished)} of {self.n_waiting} jobs", ""
        )
        return table


def closing_table(workspace: Workspace, jobs: Sequence[Job], seconds: float, index: Path) -> None:
    """The state of each job, its main number, and where the reports are."""
    table = Table("state", "job", "seconds", "main number", box=None, pad_edge=False)
    nothing: dict[str, Any] = {"state": State.NOT_RUN, "resources": {}, "says": ""}
    for job in jobs:
        record = read_record(job.file(".json")) or nothing
        table.add_row(
            Text(record["state"], COLOURS[record["state"]]),
            f"{job.workspace.root.name}: {job.report.name}" if job.original else job.report.name,
            amount(record["resources"], "wall_seconds", "{:.1f}"),
            Text(readable(record["says"])),
        )
    terminal = Terminal(highlight=False, width=None if sys.stdout.isatty() else 160)
    terminal.print()
    terminal.print(table)
    print(f"\n{clock(seconds)} (minutes:seconds). Reports: {index}")
