"""Recipes whose memory is planned, in the current folder, and folders that say which model they
hold."""

import json
from pathlib import Path

from pipeline.recipe.load import load_recipe

RECIPE = """\
name: small
model: {preset: nano}
prompts:
  - {source: jsonl, path: mine.jsonl, capability: words, verifier: exact, held_out: 0.5}
stages:
  - {id: filter, kind: judge_filter, drop_easiest: 0.5, judges: [{kind: attempts, model: smollm2-135m-instruct}]}
  - {id: sft, kind: sft, on: prompts, train: full, learning_rate: 1e-4}
  - {id: rl, kind: rl, from: sft, on: filter, steps: 2, learning_rate: 1e-4}
  - {id: dpo, kind: dpo, from: rl, pairs: rl, learning_rate: 1e-4}
evaluate: {suites: [held_out], after: [base, dpo]}
"""  # noqa: E501
SFT_ONLY = (
    RECIPE.partition("  - {id: filter")[0]
    + "  - {id: sft, kind: sft, on: prompts, learning_rate: 1e-4}\n"
)
TINY = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 24,
    "intermediate_size_mlp": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "num_local_experts": 4,
    "interleave_moe_layer_step": 2,
}


def written(text):
    """The name of the recipe file with this text, beside the prompts of the `folder` fixture."""
    Path("small.yaml").write_text(text)
    return "small.yaml"


def loaded(text, settings=None):
    """The recipe of a text."""
    return load_recipe(Path(written(text)), settings)


def checkpoint(folder, multimodal=False, **fields):
    """A folder that says it holds a Llama 4, with weights that nothing here reads; gives its
    name."""
    text = {**TINY, **fields}
    whole = (
        {"model_type": "llama4", "text_config": text}
        if multimodal
        else {**text, "model_type": "llama4_text"}
    )
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text(json.dumps(whole))
    (folder / "model" / "model.safetensors").write_bytes(b"weights")
    return "{checkpoint: model}"
