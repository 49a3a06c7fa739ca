"""What the tests of the early check share: a recipe of every stage, model folders without weights,
the check itself."""

import json
import shutil

from builders.contexts import stage_context
from builders.recipe_texts import replaced, write_rows
from common.files import read_json
from models.nano import CHAT_TEMPLATE, nano_tokenizer
from pipeline.planning.early_check import early_check as declared_check
from pipeline.recipe.load import load_recipe
from prompts.schema import Prompt, write_prompts
from stages.preflight.run import run

RECIPE = """\
name: early
model: {preset: nano}
prompts:
  - {source: jsonl, path: mine.jsonl, capability: words, verifier: exact, held_out: 0.25}
stages:
  - {id: filter, kind: judge_filter, drop_easiest: 0.5, judges: [{kind: attempts, url: "http://judge/v1", model_name: j}]}
  - {id: sft, kind: sft, on: prompts, learning_rate: 1e-4}
  - {id: rl, kind: rl, from: sft, on: filter, steps: 4, learning_rate: 1e-5}
evaluate: {suites: [held_out, {name: basic_arithmetic, limit: 20}], after: [rl]}
"""  # noqa: E501
NANO, DENSE = "model: {preset: nano}", "model: {upcycle: dense}"
URL = 'url: "http://judge/v1", model_name: j'
AFTER_USER = "{% if add_generation_prompt %}"


def prompt(name, text=None, system=None, capability="words"):
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": text or f"say {name}"})
    return Prompt(name, messages, name, "exact", capability, "mine.jsonl", None, {})


def write_recipe(folder, *texts):
    """The recipe's path, with texts (old, new) replaced."""
    write_rows(folder / "mine.jsonl", "abcdefgh")
    (folder / "early.yaml").write_text(replaced(RECIPE, *texts))
    return folder / "early.yaml"


def dense_folder(folder, template=CHAT_TEMPLATE, **config):
    """A dense Llama's folder with everything but its weights, which nothing here reads."""
    shutil.rmtree(folder, ignore_errors=True)
    tokenizer = nano_tokenizer()
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    settings = {
        "model_type": "llama",
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "num_attention_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": 512,
        "eos_token_id": tokenizer.eos_token_id,
    }
    (folder / "config.json").write_text(json.dumps({**settings, **config}))
    (folder / "model.safetensors").write_bytes(b"")
    return folder


def early_check(recipe, training=None, held_out=None):
    """What `preflight.json` says of a recipe with these prompts. Of the held-out ones g is in the
    dev part and k in the final part."""
    gathered, out = recipe.parent / "gathered", recipe.parent / "out"
    for folder in (gathered, out):
        folder.mkdir(exist_ok=True)
    write_prompts(gathered / "prompts.parquet", training or [prompt(letter) for letter in "abcdef"])
    write_prompts(
        gathered / "held_out.parquet", [prompt("g"), prompt("k")] if held_out is None else held_out
    )
    context = stage_context(out, note=lambda text: None)
    run(declared_check(load_recipe(recipe)), {"prompts": gathered}, context)
    return read_json(out / "preflight.json")
