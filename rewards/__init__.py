"""Verifiers: the reward of a completion, or the fault that prevented grading."""
