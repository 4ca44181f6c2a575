"""What a request means: its parameters, its jobs, which of them are up to date, and why not.

Imports core, machine, data, networks, attacks, metrics and retraining. No TensorFlow, unless a
network that a user brings is tried.
"""
