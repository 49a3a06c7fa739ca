"""Verifiers: what a completion is worth, and when that could not be told."""
