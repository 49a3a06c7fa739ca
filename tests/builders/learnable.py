"""Inputs of training stages: a nano policy, prompts with answers, and groups of an RL stage."""

from builders.single_prompts import prompt_of
from common.files import append_json_line
from models.checkpoint import save_policy
from models.nano import nano_model, nano_tokenizer
from prompts.schema import write_prompts

TOKENIZER = nano_tokenizer()


def prompt_inputs(folder, count):
    """The inputs of an SFT stage: answers of different lengths."""
    folder.mkdir()
    save_policy(nano_model(TOKENIZER, seed=0), TOKENIZER, folder / "checkpoint")
    prompts = [prompt_of(f"p{n}", f"say {n}", "a" * (1 + n % 5)) for n in range(count)]
    write_prompts(folder / "prompts.parquet", prompts)
    return {"checkpoint": folder, "prompts": folder}


def probed_inputs(folder, count):
    """The inputs of an SFT stage with `stop_when`: held-out prompts too, of the same task."""
    inputs = prompt_inputs(folder, count)
    held = [prompt_of(f"h{n}", f"say {100 + n}", "a" * (1 + n % 5)) for n in range(24)]
    write_prompts(folder / "held_out.parquet", held)
    return {**inputs, "held_out": folder}


def pair_inputs(folder, count):
    """The inputs of a DPO stage: a right and a wrong answer to each prompt, and another reference
    than the policy: from equal ones the gradient of each pair would be the same."""
    prompt_inputs(folder, count)
    reference = folder / "reference"
    save_policy(nano_model(TOKENIZER, seed=2), TOKENIZER, reference / "checkpoint")
    for n in range(count):
        answers = {"a" * (2 + n % 4): 1.0, "b" * (3 + n % 3): 0.0}
        members = [
            {"text": text, "token_ids": [7] * 4, "reward": reward}
            | {"fault": None, "finish": "stop"}
            for text, reward in answers.items()
        ]
        row = {"prompt_id": f"p{n}", "step": n % 2, "system": None, "members": members}
        append_json_line(folder / "groups.jsonl", row)
    return {"checkpoint": folder, "pairs": folder, "reference": reference}
