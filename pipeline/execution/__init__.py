"""Running a plan: a process for each stage, and the state of a run on disk."""
