"""An evaluation by the tasks of an installed lm-evaluation-harness."""
