"""Runs jobs, here or on a Dask cluster: each job has a process of its own, which ends with the run.

Imports core, machine, plan and reports. `environment`, `worker` and `forkserver` import nothing of
the project but each other: they are sent to workers that know nothing of it.
"""
