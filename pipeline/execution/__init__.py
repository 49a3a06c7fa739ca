"""Runs a plan, each stage in its own process, and reads the state of a run from disk."""
