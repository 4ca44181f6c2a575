"""Guided retraining: all logic. The notebooks call it, show its results and explain them.

The rooms, from the ground up: core, machine, data, networks, attacks and metrics, retraining,
statistics, plotting, plan, reports, runner. A module imports from its own room and from those
below; `notebook` is what the templates share. A name has one home and is imported from there.
"""
