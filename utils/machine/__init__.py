"""What a block of code costs in time, memory and energy; and the provenance of a result.

Imports core.
"""
