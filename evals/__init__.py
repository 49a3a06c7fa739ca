"""Suites, the one protocol that asks them, intervals, comparison of checkpoints, and gates."""
