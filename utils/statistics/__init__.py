"""From the results table to numbers that answer the question: summaries, tests, advice, words.

Every function takes the results table of `utils.retraining.results` or what another function here
returns.

Imports core, metrics and retraining (its table, and what is chosen). No TensorFlow.
"""
