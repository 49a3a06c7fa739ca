"""One step's practice: roll out what the curriculum asks for, grade it, and hand over the groups
that train."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice

from common.errors import BadInput
from common.faults import CUT_OFF, NOT_ENCODED, TOO_LONG, remedy_of
from common.seeds import derive
from curriculum.curriculum import Curriculum
from curriculum.ledger import Ledger
from curriculum.plots import PREFIX
from curriculum.requests import RolloutRequest, RolloutResult
from curriculum.stage_start import FIRST_VERSION
from prompts.schema import Prompt, with_system
from rewards.grade import Grade
from rollouts.interface import Rollout, RolloutEngine
from stages.lengths import require_room
from stages.rl.config import RlStage
from stages.rl.groups import Group, Member
from stages.rl.passes import Part, forward_passes

CHUNK = 512
"""Rollouts asked of the engine at once: between two chunks progress is told and a stop is heeded.
The engine drains at the end of each."""
REMEMBERED = 4096
"""Prompts whose tokens are kept."""
_log = logging.getLogger(__name__)


@dataclass
class StepBatch:
    """A step's groups."""

    chosen: list[Group] = field(default_factory=list)
    """Groups with a spread of rewards, to train on."""
    everything: list[Group] = field(default_factory=list)
    """Every group rolled out, probes and pilots included."""
    passes: list[list[Part]] = field(default_factory=list)
    """What is trained on, by forward pass."""
    counted_tokens: int = 0
    """Completion tokens that the loss is divided by."""
    unfit: dict[str, str] = field(default_factory=dict)
    """Prompts that were drawn and cannot be rolled out, and why: `too_long`, `not_encoded`."""
    metrics: dict[str, float] = field(default_factory=dict)
    quota_shift: dict[str, int] = field(default_factory=dict)
    """Places that capabilities gave up for want of useful prompts (negative) and took over."""

    @property
    def tokens(self) -> int:
        """Completion tokens sampled."""
        return sum(group.tokens for group in self.everything)


class RolloutCollector:
    """The curriculum, the engine and the verifier put together; the ledger is the only memory from
    step to step."""

    def __init__(
        self,
        config: RlStage,
        prompts: Mapping[str, Prompt],
        ledger: Ledger,
        engine: RolloutEngine,
        grade: Callable[[Prompt, str], Grade],
        seed: int,
        rows_per_forward: int = 32,
    ) -> None:
        self.rows_per_forward = rows_per_forward
        self.config, self.prompts, self.ledger = config, prompts, ledger
        self.engine, self.grade, self.seed = engine, grade, seed
        self.between: Callable[[bool], None] = lambda booked: None
        """Called before every chunk of rollouts, with whether the step has booked any; what it
        raises ends the step."""
        self.curriculum = Curriculum(
            config.curriculum,
            ledger,
            groups=config.prompts_per_step,
            group_size=config.group_size,
            seed=derive(seed, "curriculum"),
        )
        self.room = engine.max_model_len - config.max_tokens
        """Longest prompt that leaves room for an answer, in tokens."""
        self.encoded = lru_cache(maxsize=REMEMBERED)(self._encoded)
        """Token ids of a prompt, by id, behind each of the system prompts: made when it is drawn,
        and kept a while."""

    def fitting(self, count: int) -> list[str]:
        """The first so many prompts that can be rolled out. BadInput if there is none."""
        found = list(islice((id for id in self.prompts if not self.unfit(id)), count))
        if not found:
            longest = {
                id: max(map(len, self.encoded(id)))
                for id in self.prompts
                if self.unfit(id) == TOO_LONG
            }
            lengths = {self.prompts[id].named: length for id, length in longest.items()}
            remedy = (
                "raise rollouts.max_model_len, lower max_tokens, or set max_prompt_tokens of their"
                " source"
            )
            require_room(
                lengths, self.room, "rollouts.max_model_len less max_tokens, a room", remedy
            )
            raise BadInput(
                f"not one of {len(self.prompts)} prompts can be encoded", remedy_of(NOT_ENCODED)
            )
        return found

    def step(self, step: int) -> StepBatch:
        """Practise with the policy of step `step`; its version counts on from earlier stages on the
        same ledger."""
        asking = self.curriculum.step(self.ledger.remembered(FIRST_VERSION, 0) + step)
        done, groups = StepBatch(), dict[tuple[str, bool], Group]()
        try:
            requests = next(asking)
            while True:
                requests = asking.send(self._roll(requests, step, done, groups))
        except StopIteration as end:
            chosen = end.value
        done.everything = list(groups.values())
        done.chosen = [groups[id, False] for id in chosen.train]
        done.passes = forward_passes(done.chosen, self.rows_per_forward)
        done.counted_tokens = sum(
            groups[id, False].loss_tokens for id in chosen.counted if (id, False) in groups
        )
        done.metrics = {PREFIX + name: value for name, value in chosen.metrics.items()}
        done.quota_shift = dict(chosen.quota_shift)
        done.metrics |= self._by_system(done.everything)
        return done

    def system_of(self, id: str, step: int) -> int:
        """Which of the system prompts a prompt is behind at a step."""
        return derive(self.seed, "system", step, id) % max(len(self.config.system_prompts), 1)

    def unfit(self, id: str) -> str | None:
        """Why a prompt cannot be rolled out behind each of the system prompts; None if it can."""
        variants = self.encoded(id)
        if not all(variants):
            return NOT_ENCODED
        return TOO_LONG if max(map(len, variants)) > self.room else None

    def _encoded(self, id: str) -> list[list[int]]:
        systems: Sequence[str | None] = self.config.system_prompts or [None]
        messages = [with_system(self.prompts[id].messages, system) for system in systems]
        try:
            return [self.engine.encode(one) for one in messages]
        except (
            Exception
        ):  # a chat template is a program that came with the checkpoint: it may raise anything
            _log.warning("prompt %s cannot be encoded", id, exc_info=True)
            return [[] for _ in systems]

    def _roll(
        self,
        requests: Sequence[RolloutRequest],
        step: int,
        done: StepBatch,
        groups: dict[tuple[str, bool], Group],
    ) -> list[RolloutResult]:
        """Roll out what is asked for, one outcome an ask; the rollouts join the step's groups
        (probes apart)."""
        booked, found = bool(groups or done.unfit), dict[str, Group]()
        for count in sorted({request.rollouts for request in requests}):
            same = [request for request in requests if request.rollouts == count]
            at_once = max(CHUNK // count, 1)
            for start in range(0, len(same), at_once):
                self.between(booked)
                fits = [
                    request
                    for request in same[start : start + at_once]
                    if not self.unfit(request.id)
                ]
                found |= {group.prompt_id: group for group in self._sample(fits, step, count)}
        outcomes = []
        for request in requests:
            if reason := self.unfit(request.id):
                done.unfit[request.id] = reason
                outcomes.append(RolloutResult(0, 0, {reason: 1}))
                continue
            group = found[request.id]
            key = request.id, group.probe
            groups[key] = groups[key].joined(group) if key in groups else group
            outcomes.append(_outcome(group))
        return outcomes

    def _sample(self, requests: Sequence[RolloutRequest], step: int, count: int) -> list[Group]:
        """`count` graded rollouts of each ask."""
        if not requests:
            return []
        inputs = [
            self.encoded(request.id)[self.system_of(request.id, step)] for request in requests
        ]
        rollouts = self.engine.generate(
            inputs,
            samples=count,
            temperature=self.config.temperature,
            top_p=self.config.top_p,
            max_tokens=self.config.max_tokens,
            seeds=[
                derive(self.seed, "rollout", step, request.purpose, request.id)
                for request in requests
            ],
        )
        found = []
        for request, tokens, completions in zip(requests, inputs, rollouts, strict=True):
            prompt, probe = self.prompts[request.id], request.purpose == "probe"
            members = [self._member(prompt, rollout) for rollout in completions]
            found.append(
                Group(
                    request.id,
                    prompt.capability,
                    tokens,
                    members,
                    probe,
                    self.system_of(request.id, step),
                )
            )
        return found

    def _member(self, prompt: Prompt, rollout: Rollout) -> Member:
        graded = None if rollout.finish == "length" else self.grade(prompt, rollout.text)
        if (
            graded is None or graded.fault == CUT_OFF
        ):  # at the engine's limit, or within its own thinking
            return Member(
                rollout, 0.0, CUT_OFF if self.config.cut_off == "mask" else None, cut_off=True
            )
        return Member(rollout, 1.0 if graded.correct else 0.0, graded.fault)

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


def _outcome(group: Group) -> RolloutResult:
    cut_off = sum(member.cut_off for member in group.usable)
    return RolloutResult(
        group.passes, len(group.usable) - group.passes, group.faults, group.tokens, cut_off
    )
