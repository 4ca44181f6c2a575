"""One style, one function for each figure: plain arrays or tables in, a matplotlib figure out.

A metric has the same colour and marker in every figure, and axes carry units.

Imports core, metrics (baselines), retraining (the table's columns) and statistics. No TensorFlow.
"""
