"""What people read: a page for each executed notebook, the index over all, the terminal.

Imports core, networks and retraining (names alone) and plan. No TensorFlow.
"""
