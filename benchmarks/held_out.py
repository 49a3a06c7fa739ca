"""What held-out prompts say of a policy, without the noise of sampling and with it."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from common.seeds import derive
from models.chat import encode_text
from models.checkpoint import load_policy, load_tokenizer
from models.packed import PromptCompletions, pack
from prompts.schema import Prompt
from rewards.grade import grade
from rollouts.interface import RolloutEngine

ROWS = 400
"""Held-out prompts in one forward pass of a small model."""


class Yardstick:
    """The same held-out prompts for every policy with the tokenizer of one checkpoint."""

    def __init__(
        self,
        prompts: Sequence[Prompt],
        checkpoint: Path,
        rows: int = ROWS,
        kind: Callable[[Prompt], str] = lambda prompt: prompt.capability,
    ) -> None:
        """`kind` groups the prompts in the figures."""
        tokenizer = load_tokenizer(checkpoint)
        self.prompts, self.rows, self.kind = prompts, rows, kind
        self.asked = [
            tokenizer.apply_chat_template(p.messages, add_generation_prompt=True, return_dict=False)
            for p in prompts
        ]
        end = tokenizer.eos_token_id
        self.answers = [[*encode_text(tokenizer, p.answer), end] for p in prompts]

    def score(self, policy: Any) -> dict[str, Any]:
        """The mean probability that the policy answers with the reference and ends there, which is
        the pass rate at temperature 1."""
        values = answer_probabilities(policy, self.asked, self.answers, self.rows)
        return self.by_kind("score", values)

    def sampled(
        self, engine: RolloutEngine, samples: int, temperature: float, max_tokens: int
    ) -> dict[str, Any]:
        """`pass_1` and `pass_k` of k samples to each prompt, and the entropy in nats per token,
        estimated by the sampled tokens."""
        groups = engine.generate(
            self.asked,
            samples=samples,
            temperature=temperature,
            max_tokens=max_tokens,
            seeds=[derive(0, "held out", number) for number in range(len(self.asked))],
        )
        right = [
            [grade(prompt, one.text).correct for one in group]
            for prompt, group in zip(self.prompts, groups, strict=True)
        ]
        tokens = [value for group in groups for one in group for value in one.logprobs]
        return {
            **self.by_kind("pass_1", [fmean(map(float, one)) for one in right]),
            **self.by_kind(f"pass_{samples}", [float(any(one)) for one in right]),
            "entropy": -fmean(tokens),
        }

    def by_kind(self, name: str, values: Sequence[float]) -> dict[str, Any]:
        """The mean over all prompts, and by kind."""
        parts: dict[str, list[float]] = {}
        for prompt, value in zip(self.prompts, values, strict=True):
            parts.setdefault(self.kind(prompt), []).append(value)
        by_kind = {part: fmean(parts[part]) for part in sorted(parts)}
        return {name: fmean(values), f"{name}_by_kind": by_kind}


def probabilities(checkpoint: Path, prompts: Sequence[Prompt], rows: int = ROWS) -> list[float]:
    """The probability of every prompt's reference answer under a checkpoint."""
    yardstick = Yardstick(prompts, checkpoint)
    return answer_probabilities(load_policy(checkpoint), yardstick.asked, yardstick.answers, rows)


@torch.no_grad()
def answer_probabilities(
    policy: Any, asked: list[list[int]], answers: list[list[int]], rows: int
) -> list[float]:
    """Probability of each answer right after its prompt. Both are token ids, the answer with its
    end token; `rows` are computed per forward pass."""
    was_training, values = policy.training, list[float]()
    policy.eval()
    for start in range(0, len(asked), rows):
        part = slice(start, start + rows)
        pairs: list[PromptCompletions] = [
            (ids, [answer]) for ids, answer in zip(asked[part], answers[part], strict=True)
        ]
        logprobs, _ = policy(packed=pack(pairs, 0))
        lengths = map(len, answers[part])
        values += [
            math.exp(row[:length].sum().item())
            for row, length in zip(logprobs, lengths, strict=True)
        ]
    policy.train(was_training)
    return values
