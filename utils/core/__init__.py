"""What every room needs: paths, files, text, seeds, progress, the fingerprint of code.

Imports nothing of the project.
"""
