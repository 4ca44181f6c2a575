"""Keras networks: built, read from users' files, copied, traced, trained and tested.

Imports core, data and machine. TensorFlow is imported inside functions, so reading a registry stays
fast.
"""
