"""Groups of rollouts: one prompt, several completions of one policy version, each graded."""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from curriculum.spread import has_spread
from rollouts.interface import Rollout


@dataclass(frozen=True, slots=True)
class Member:
    """One graded rollout."""

    rollout: Rollout
    reward: float
    """0 to 1; without meaning when `fault` is set."""
    fault: str | None
    """Why the rollout counts neither as right nor as wrong: `cut_off`, or a verifier's fault."""
    cut_off: bool = False
    """It did not reach its end. Under `cut_off: zero` that is no fault, but a reward of 0."""
    parts: dict[str, float] = field(default_factory=dict)
    """The reward's parts by label; empty where there is one only."""
    checks: dict[str, float] = field(default_factory=dict)
    """Rewards of the parts' sub-checks, such as the items of a rubric, by `<label>/<check>`."""
    judge_tokens: int = 0
    """Tokens of the judges' replies about it."""

    def to_json(self) -> dict[str, Any]:
        """The rollout with its reward, as `groups.jsonl` has it."""
        rollout = {k: v for k, v in asdict(self.rollout).items() if k != "logprobs"}
        line = {**rollout, "reward": self.reward, "fault": self.fault}
        graded = {"parts": self.parts, "checks": self.checks, "judge_tokens": self.judge_tokens}
        return line | {name: value for name, value in graded.items() if value}


@dataclass(frozen=True, slots=True)
class Group:
    """The rollouts of one prompt."""

    prompt_id: str
    capability: str
    prompt_ids: list[int]
    """Prompt tokens."""
    members: list[Member]
    probe: bool
    """Sampled to measure difficulty only, never trained on."""
    system: int = 0
    """Index of the recipe's system prompt that it is behind."""
    pass_at: float = 1.0
    """Reward from which a rollout passes."""

    def joined(self, more: "Group") -> "Group":
        """This group and further rollouts of the same prompt."""
        return replace(self, members=[*self.members, *more.members])

    @property
    def usable(self) -> list[Member]:
        return [member for member in self.members if member.fault is None]

    @property
    def mixed(self) -> bool:
        """Whether the usable rewards have a spread: only then does the group have a gradient."""
        return has_spread([member.reward for member in self.usable])

    @property
    def passes(self) -> int:
        """Usable rollouts whose reward reaches the threshold."""
        return sum(member.reward >= self.pass_at for member in self.usable)

    @property
    def faults(self) -> Counter[str]:
        return Counter(member.fault for member in self.members if member.fault is not None)

    @property
    def tokens(self) -> int:
        """Completion tokens sampled."""
        return sum(len(member.rollout.token_ids) for member in self.members)

    @property
    def judge_tokens(self) -> int:
        """Tokens of the judges' replies about its rollouts."""
        return sum(member.judge_tokens for member in self.members)

    @property
    def loss_tokens(self) -> int:
        """Completion tokens that the loss is over: those of the usable members."""
        return sum(len(member.rollout.token_ids) for member in self.usable)

    def advantages(self) -> list[float]:
        """One per usable member: (reward - mean) / (standard deviation + 1e-4).

        GRPO, Shao et al. 2024 (arXiv:2402.03300), section 4.1.
        """
        rewards = [member.reward for member in self.usable]
        mean, spread = statistics.fmean(rewards), statistics.stdev(rewards)
        return [(reward - mean) / (spread + 1e-4) for reward in rewards]

    def to_json(self, step: int, system_prompts: Sequence[str]) -> dict[str, Any]:
        """One line of `groups.jsonl`. Its `system` is the text of the recipe's system prompt, None
        if it has none."""
        line = {
            "step": step,
            "prompt_id": self.prompt_id,
            "capability": self.capability,
            "probe": self.probe,
        }
        line["system"] = system_prompts[self.system] if system_prompts else None
        return {**line, "members": [member.to_json() for member in self.members]}
