"""What people read: a page for each executed notebook, the index over all, the terminal.

Imports core, retraining (its configurations) and plan. No TensorFlow.
"""
