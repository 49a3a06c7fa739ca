"""Evaluation: suites, the protocol, intervals, comparison of checkpoints, and gates."""
