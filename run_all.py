#!/usr/bin/env python
"""Run the study: templates in notebooks/, executed for each data set, seed and configuration."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

if __name__ == "__main__":  # Ctrl-C while the modules below load: there is nothing to stop yet
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # with Python's option -P, too
    from utils.runner.environment import start_over

    start_over()

from utils.core.text import readable
from utils.machine.provenance import usable_cpus
from utils.plan.command_line import command_line, request, rule_of, show_list
from utils.plan.freshness import UP_TO_DATE, states_of, verified
from utils.reports.console import Console, closing_table, plan_table
from utils.reports.index import write_index
from utils.reports.pages import links_between
from utils.runner.dask_defaults import use_defaults
from utils.runner.lock import Lock, Refused

if TYPE_CHECKING:
    from argparse import Namespace


def main() -> int:
    """Parse, plan, run, report."""
    parser = command_line()
    options = parser.parse_args()
    if options.force and options.trust_existing:
        parser.error("--force and --trust-existing contradict each other")
    if options.list:
        show_list()
        return 0
    try:
        everything, jobs, lines = request(options)
        if options.scheduler and not options.plan:
            use_defaults(own_cluster=True)
            from utils.runner.cluster import reach

            reach(options.scheduler)
    except (ValueError, Refused) as error:
        return refuse(error)
    try:
        for line in lines:  # they may come with a stranger's workspace
            print(readable(line, 2000), flush=True)
        if options.plan:
            plan_table(jobs, states_of(jobs, rule_of(options)))
            return 0
        with Lock(jobs[0].home) as lock:
            return run_jobs(everything, jobs, lock, options)
    except Refused as error:
        return refuse(error, error.code)


def refuse(error: Exception, code: int = 2) -> int:
    """Say in one line why the run can't be, or go on; return the exit code."""
    print(f"run_all.py: {readable(error, 2000)}", file=sys.stderr)
    return code


def run_jobs(everything: list, jobs: list, lock: Lock, options: Namespace) -> int:
    """Run what is not up to date, show how it goes, write the index; return the exit code."""
    begin = time.monotonic()
    rule = rule_of(options)
    states = states_of(jobs, rule)
    if any(state != UP_TO_DATE for state in states.values()):
        states = verified(jobs, states, rule)
    console, fine = Console(jobs, states), True
    waiting = [job for job in jobs if states[job.name] != UP_TO_DATE]
    if waiting:
        use_defaults()
        from utils.runner.cluster import Cluster, ClusterLost
        from utils.runner.scheduling import run  # Dask, which an up-to-date run can do without

        threads = max(job.parameters.get("threads", 1) for job in waiting)
        n_jobs = int(options.jobs or max(1, usable_cpus() // threads))
        cluster = Cluster(n_jobs, options.scheduler, int(options.gpus_per_job))
        links = links_between(j for j in everything if j in jobs or j.file(".html").exists())
        try:
            outcomes = run(waiting, links, lock, cluster, rule, console.show, console.say)
            fine = all(outcome.fine for outcome in outcomes.values())
        except (ClusterLost, KeyboardInterrupt):
            write_index(lock.workspace)
            raise
        finally:
            console.close()
    index = write_index(lock.workspace)
    closing_table(lock.workspace, jobs, time.monotonic() - begin, index)
    return 0 if fine else 1


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    try:
        code = main()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is said and done
        sys.exit(code)
    except KeyboardInterrupt:
        print("\nStopped. What is finished is kept; the same command goes on from there.")
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output has gone, as in `--list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(
            f"run_all.py: {error.filename or 'the workspace'}: no room left on the disk; make "
            "some, then the same command goes on from there",
            file=sys.stderr,
        )
        sys.exit(1)
