"""Keras networks: built, read from files of others, copied, looked into, trained.

Imports core and data. TensorFlow is imported inside functions, so reading a registry stays fast.
"""
