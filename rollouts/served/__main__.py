"""`python -m rollouts.served CHECKPOINT --port PORT`: one rollout server."""

import runpy

# vLLM's engine process imports the main module again by its name, which Python skips for a
# `__main__.py`; `launch.py` has to know of that process.
runpy.run_module("rollouts.served.launch", run_name="__main__", alter_sys=True)
