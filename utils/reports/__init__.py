"""What people read: a page for each executed notebook, the index over all, the terminal.

Imports core and plan. No TensorFlow.
"""
