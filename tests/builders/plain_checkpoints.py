"""A checkpoint in a fresh process of transformers or vLLM, which cannot import our code."""

import json
import os
import subprocess
import sys
from unittest.mock import patch

from pipeline.checkout import PACKAGES
from rollouts import environment

REFUSE_OURS = f"""
import json, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {PACKAGES!r} and path is None:
            raise ImportError(name + " is not to be imported")
sys.meta_path.insert(0, Refuse())
folder, sequences = sys.argv[1], json.loads(sys.stdin.read())
"""
TRANSFORMERS = """
import torch
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
found = []
for one in sequences:
    ids = torch.tensor([one["prompt_ids"] + one["completion_ids"]])
    with torch.no_grad():
        logprobs = model(input_ids=ids).logits[0, len(one["prompt_ids"]) - 1 : -1].log_softmax(-1)
    found.append(logprobs.gather(1, ids[0, len(one["prompt_ids"]) :, None])[:, 0].tolist())
print(json.dumps([type(model).__name__, found]))
"""
VLLM = """
from vllm import LLM, SamplingParams
llm = LLM(folder, dtype="float32", enforce_eager=True, distributed_executor_backend="external_launcher")
inputs = [{"prompt_token_ids": one["prompt_ids"] + one["completion_ids"]} for one in sequences]
outputs = llm.generate(inputs, SamplingParams(max_tokens=1, prompt_logprobs=0), use_tqdm=False)
found = []
for output, one in zip(outputs, sequences):
    rows = output.prompt_logprobs[len(one["prompt_ids"]) :]
    found.append([row[token].logprob for row, token in zip(rows, one["completion_ids"])])
print(json.dumps([llm.llm_engine.model_config.architecture, found]))
"""  # noqa: E501


def logprobs_in_plain(code, folder, sequences, tmp_path):
    """What a fresh process without our code gives: the model's class and a row of log-probabilities
    a sequence."""
    # vLLM compiles a sampling helper, which needs a C++ compiler; the machine may have none.
    variables = {"HF_HUB_OFFLINE": "1", "TORCH_COMPILE_DISABLE": "1"}
    with patch.dict(os.environ, variables), environment.launched(kv_cache_gib=1):
        variables = dict(os.environ)
    words = [sys.executable, "-I", "-c", REFUSE_OURS + code, str(folder)]
    done = subprocess.run(
        words,
        input=json.dumps(sequences),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=variables,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
