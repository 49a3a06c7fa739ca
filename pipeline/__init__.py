"""The recipe's schema, the plan, the runner, run records and the command line. Loads neither torch
nor vllm."""
