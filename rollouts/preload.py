"""Importing this imports vLLM, and what it imports itself when an engine starts. It starts none."""

import importlib

from rollouts import environment

environment.set_vllm()
for _name in (
    "vllm.entrypoints.llm",
    "vllm.model_executor.models.llama4",
    "vllm.v1.worker.cpu_worker",
    "vllm.v1.engine.llm_engine",
):
    importlib.import_module(_name)
