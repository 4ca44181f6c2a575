"""Paths, files, text, seeds, the fingerprint of code: what every room needs.

Imports nothing of the project.
"""
