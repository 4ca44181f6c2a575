"""One style, one function a figure: plain arrays or tables in, a matplotlib figure out.

A metric has the same colour and marker in every figure, and axes carry units. Imports core and
statistics; no TensorFlow.
"""
