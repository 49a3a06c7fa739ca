"""One step's practice: roll out what the curriculum asks for, grade it, and hand over the groups that train."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from common.seeds import derive
from curriculum.asks import Ask, Outcome
from curriculum.curriculum import FIRST_VERSION, Curriculum
from curriculum.ledger import Ledger
from curriculum.plots import PREFIX
from prompts.schema import Prompt, with_system
from rewards.grade import Grade
from stages.lengths import require_room
from stages.rl.config import RlStage
from stages.rl.groups import CUT_OFF, Group, Member


@dataclass
class Practised:
    """A step's groups."""

    chosen: list[Group] = field(default_factory=list)
    """Groups with a spread of rewards, to train on."""
    everything: list[Group] = field(default_factory=list)
    """Every group rolled out, probes and pilots included."""
    counted_tokens: int = 0
    """Completion tokens that the loss is divided by."""
    metrics: dict[str, float] = field(default_factory=dict)
    moved: dict[str, int] = field(default_factory=dict)
    """Places that capabilities gave up for want of useful prompts (negative) and took over."""

    @property
    def tokens(self) -> int:
        """Completion tokens sampled."""
        return sum(group.tokens for group in self.everything)


class Practice:
    """The curriculum, the engine and the verifier put together; the ledger is the only memory from step to step."""

    def __init__(
        self,
        config: RlStage,
        prompts: Mapping[str, Prompt],
        ledger: Ledger,
        engine: Any,
        grade: Callable[[Prompt, str], Grade],
        seed: int,
    ) -> None:
        self.config, self.prompts, self.ledger = config, prompts, ledger
        self.engine, self.grade, self.seed = engine, grade, seed
        self.curriculum = Curriculum(
            config.curriculum,
            ledger,
            groups=config.prompts_per_step,
            group_size=config.group_size,
            seed=derive(seed, "curriculum"),
        )
        systems: Sequence[str | None] = config.system_prompts or [None]
        self.encoded = {
            id: [engine.encode(with_system(prompt.messages, system)) for system in systems]
            for id, prompt in prompts.items()
        }
        room = engine.max_model_len - config.max_tokens
        lengths = {prompts[id].named: max(map(len, variants)) for id, variants in self.encoded.items()}
        remedy = "raise rollouts.max_model_len, lower max_tokens, or set max_prompt_tokens of their source"
        require_room(lengths, room, "rollouts.max_model_len less max_tokens, a room", remedy)

    def step(self, step: int) -> Practised:
        """Practise with the policy of step `step`; its version counts on from earlier stages on the same ledger."""
        asking = self.curriculum.step(self.ledger.remembered(FIRST_VERSION, 0) + step)
        groups: dict[tuple[str, bool], Group] = {}
        try:
            asks = next(asking)
            while True:
                asks = asking.send([self._outcome(group) for group in self._roll(asks, step, groups)])
        except StopIteration as end:
            chosen = end.value
        done = Practised(everything=list(groups.values()))
        done.chosen = [groups[id, False] for id in chosen.train]
        done.counted_tokens = sum(groups[id, False].tokens for id in chosen.counted)
        done.metrics = {PREFIX + name: value for name, value in chosen.metrics.items()}
        done.moved = dict(chosen.moved)
        done.metrics |= self._by_system(done.everything)
        return done

    def system_of(self, id: str, step: int) -> int:
        """Which of the system prompts a prompt is behind at a step."""
        return derive(self.seed, "system", step, id) % max(len(self.config.system_prompts), 1)

    def _roll(self, asks: Sequence[Ask], step: int, groups: dict[tuple[str, bool], Group]) -> list[Group]:
        """The rollouts asked for, one group an ask; added to the step's `groups` by prompt (probes apart)."""
        found: list[Group] = []
        for count in sorted({ask.rollouts for ask in asks}):
            same = [ask for ask in asks if ask.rollouts == count]
            inputs = [self.encoded[ask.id][self.system_of(ask.id, step)] for ask in same]
            rollouts = self.engine.generate(
                inputs,
                samples=count,
                temperature=self.config.temperature,
                top_p=self.config.top_p,
                max_tokens=self.config.max_tokens,
                seeds=[derive(self.seed, "rollout", step, ask.purpose, ask.id) for ask in same],
            )
            for ask, tokens, completions in zip(same, inputs, rollouts, strict=True):
                prompt, probe = self.prompts[ask.id], ask.purpose == "probe"
                members = [self._member(prompt, rollout) for rollout in completions]
                found.append(Group(ask.id, prompt.capability, tokens, members, probe, self.system_of(ask.id, step)))
        by_id = {group.prompt_id: group for group in found}
        found = [by_id[ask.id] for ask in asks]
        for group in found:
            key = group.prompt_id, group.probe
            groups[key] = groups[key].joined(group) if key in groups else group
        return found

    def _member(self, prompt: Prompt, rollout: Any) -> Member:
        if rollout.finish == "length":
            masked = self.config.cut_off == "mask"
            return Member(rollout, 0.0, CUT_OFF if masked else None)
        graded = self.grade(prompt, rollout.text)
        return Member(rollout, 1.0 if graded.correct else 0.0, graded.fault)

    def _outcome(self, group: Group) -> Outcome:
        return Outcome(group.passes, len(group.usable) - group.passes, group.faults, group.tokens)

    def _by_system(self, groups: Sequence[Group]) -> dict[str, float]:
        """Pass rate by system prompt, where there are several."""
        if len(self.config.system_prompts) < 2:
            return {}
        passes, graded = Counter[int](), Counter[int]()
        for group in groups:
            if self.prompts[group.prompt_id].messages[0]["role"] == "system":
                continue  # it keeps its own
            passes[group.system] += group.passes
            graded[group.system] += len(group.usable)
        return {f"system/{n}/pass_rate": passes[n] / graded[n] for n in sorted(graded) if graded[n]}
