"""Demonstrations of mixed quality. A policy that learnt from them knows its task and is unsure of
its answers, as a model after schooling is: what RL then gains is large enough to compare arms."""

import random
from collections.abc import Iterator, Sequence
from string import ascii_lowercase, digits
from typing import Any

from prompts.schema import Prompt


def demonstrations(prompts: Sequence[Prompt], wrong: float, seed: int) -> Iterator[dict[str, Any]]:
    """The prompts as conversations that end with their answer. Each letter and each digit of it is
    drawn at random in a share `wrong` of cases."""
    draw = random.Random(seed)
    for prompt in prompts:
        answer = "".join(_character(one, wrong, draw) for one in prompt.answer)
        yield {"messages": [*prompt.messages, {"role": "assistant", "content": answer}]}


def _character(right: str, wrong: float, draw: random.Random) -> str:
    if draw.random() >= wrong or not right.isalnum():
        return right
    return draw.choice(digits if right.isdigit() else ascii_lowercase)
