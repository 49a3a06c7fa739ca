"""Writes the policy in a checkpoint that a training stage resumes from as one that loads without
our code. `python -m training.midway CHECKPOINT START TARGET` does it in a process of its own; START
is the checkpoint that the stage started from."""

import sys
from pathlib import Path

from peft import PeftModel

from common.errors import BadInput, UphillError
from models.adapters import merged
from models.checkpoint import load_policy, load_tokenizer, save_policy
from training.resume import problem_of

ADAPTERS, WEIGHTS = "adapter_config.json", "model*.safetensors"


def write_checkpoint(saved: Path, start: Path, target: Path) -> None:
    """Write the policy of `saved` to `target`. BadInput where `saved` is not whole, or was saved by
    several processes that each had a part of the weights."""
    if problem := problem_of(saved, None):
        raise BadInput(problem, "name another step")
    if (saved / ADAPTERS).is_file():
        policy = merged(PeftModel.from_pretrained(load_policy(start), str(saved)))
    elif any(saved.glob(WEIGHTS)):
        policy = load_policy(saved)
    else:
        raise BadInput(
            f"{saved}: its weights are divided among processes",
            "evaluate the stage when it is done",
        )
    policy.config.use_cache = True
    save_policy(policy, load_tokenizer(start), target)


if __name__ == "__main__":
    try:
        write_checkpoint(*map(Path, sys.argv[1:]))
    except UphillError as error:
        print(f"{error.message}\n{error.remedy}", file=sys.stderr)
        sys.exit(error.exit_code)
