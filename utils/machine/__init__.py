"""The machine that runs a job: time, memory and energy of a block, and what a result was made by.

Imports core.
"""
