"""Other harnesses: tasks of lm-evaluation-harness, and evaluations written in their forms."""
