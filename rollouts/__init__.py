"""Rollouts: the engine interface, the vLLM engine, weight sync, the parity check.

The only package that imports vllm."""
