"""One step's rollouts: sample what the curriculum asks for, grade it, and hand over the groups that
train."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from common.execution import ExecutionConfig
from common.faults import CUT_OFF
from common.seeds import derive
from curriculum.curriculum import Curriculum
from curriculum.ledger import Ledger
from curriculum.plots import PREFIX
from curriculum.requests import RolloutRequest, RolloutResult, Shortage
from curriculum.stage_start import FIRST_VERSION
from prompts.schema import Prompt
from rewards.grader import Grade, Grader
from rollouts.interface import Rollout, RolloutEngine
from stages.rl.config import RlStage
from stages.rl.encoding import PromptEncoder
from stages.rl.groups import Group, Member
from stages.rl.passes import Pass, forward_passes

CHUNK = 512
"""Rollouts asked of the engine at once: between two chunks progress is reported and a stop is
heeded. The engine drains at the end of each."""
Groups = dict[tuple[str, bool], Group]
"""Groups by prompt id and by whether they are probes."""
Graded = Callable[[], Group]
"""Waits for the grades of a group."""


@dataclass
class StepBatch:
    """The groups of one step."""

    trained: list[Group] = field(default_factory=list)
    """Groups with a spread of rewards, which are trained on."""
    rolled_out: list[Group] = field(default_factory=list)
    """Every group, probes and pilots included."""
    passes: list[Pass] = field(default_factory=list)
    """What is trained on, by forward pass."""
    loss_tokens: int = 0
    """Completion tokens that the loss is divided by."""
    unusable: dict[str, str] = field(default_factory=dict)
    """Prompts (ids) that were drawn and cannot be rolled out, and why: `too_long`,
    `not_encoded`."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Figures of the curriculum and of the system prompts, by the names that they are logged
    under."""
    shortages: dict[str, Shortage] = field(default_factory=dict)
    """Capabilities that fall short of their share for want of useful prompts."""
    version: int = 0
    """Policy version of this stage that sampled them."""

    @property
    def tokens(self) -> int:
        """Completion tokens sampled."""
        return sum(group.tokens for group in self.rolled_out)

    @property
    def judge_tokens(self) -> int:
        """Tokens of the judges' replies about the step's rollouts."""
        return sum(group.judge_tokens for group in self.rolled_out)


class RolloutCollector:
    """Curriculum, engine and verifier put together. The ledger is the only memory from step to
    step."""

    def __init__(
        self,
        config: RlStage,
        prompts: Mapping[str, Prompt],
        ledger: Ledger,
        engine: RolloutEngine,
        grader: Grader,
        seed: int,
        rows_per_forward: int = ExecutionConfig().rows_per_forward,
    ) -> None:
        """`rows_per_forward` counts the sequences of all processes."""
        self.rows_per_forward = rows_per_forward
        self.config, self.prompts, self.ledger = config, prompts, ledger
        self.engine, self.grader, self.seed = engine, grader, seed
        self.before_chunk: Callable[[bool], None] = lambda booked: None
        """Called before every chunk of rollouts, with whether the step has booked any; what it
        raises ends the step."""
        self.encoder = PromptEncoder(
            prompts, engine, config.system_prompts, config.max_tokens, seed
        )
        self.curriculum = Curriculum(
            config.curriculum,
            ledger,
            groups=config.prompts_per_step,
            group_size=config.group_size,
            seed=derive(seed, "curriculum"),
            steps=config.steps,
        )

    def collect(self, step: int, version: int | None = None) -> StepBatch:
        """The batch of a step, sampled from the policy that the engine holds: `version` of this
        stage, or version `step` if not given. The ledger counts on from earlier stages."""
        version = step if version is None else version
        first = self.ledger.remembered(FIRST_VERSION, 0)
        requested = self.curriculum.step(first + version, first + step)
        batch, groups = StepBatch(), Groups()
        try:
            requests = next(requested)
            while True:
                requests = requested.send(self._roll_out(requests, step, batch, groups))
        except StopIteration as end:
            selection = end.value
        batch.rolled_out = list(groups.values())
        batch.trained = [groups[id, False] for id in selection.train]
        batch.passes = forward_passes(batch.trained, self.rows_per_forward)
        batch.version = version
        batch.loss_tokens = sum(
            groups[id, False].loss_tokens for id in selection.counted if (id, False) in groups
        )
        batch.metrics = {PREFIX + name: value for name, value in selection.metrics.items()}
        batch.metrics |= self._by_system_prompt(batch.rolled_out)
        batch.shortages = selection.shortages
        return batch

    def _roll_out(
        self, requests: Sequence[RolloutRequest], step: int, batch: StepBatch, groups: Groups
    ) -> list[RolloutResult]:
        """One result per request; the rollouts join the step's groups, probes apart."""
        booked = bool(groups or batch.unusable)
        new = self._in_chunks(requests, step, booked)
        results = []
        for request in requests:
            if reason := self.encoder.unusable(request.id):
                batch.unusable[request.id] = reason
                results.append(RolloutResult(0, 0, {reason: 1}))
                continue
            group = new[request.id]()
            key = request.id, group.probe
            groups[key] = groups[key].joined(group) if key in groups else group
            results.append(_result(group))
        return results

    def _in_chunks(
        self, requests: Sequence[RolloutRequest], step: int, booked: bool
    ) -> dict[str, Graded]:
        """Groups by prompt id. Slow verifiers grade a chunk while the next one is sampled."""
        groups: dict[str, Graded] = {}
        for chunk in _chunks(requests):
            self.before_chunk(booked)
            usable = [request for request in chunk if not self.encoder.unusable(request.id)]
            groups |= self._sample(usable, step)
        return groups

    def _sample(self, requests: Sequence[RolloutRequest], step: int) -> dict[str, Graded]:
        """The rollouts of requests, of whatever sizes, which are being graded."""
        if not requests:
            return {}
        inputs = [self.encoder.encoded(request.id, step) for request in requests]
        rollouts = self.engine.generate(
            inputs,
            samples=[request.rollouts for request in requests],
            temperature=self.config.temperature,
            top_p=self.config.top_p,
            max_tokens=self.config.max_tokens,
            seeds=[
                derive(self.seed, "rollout", step, request.purpose, request.id)
                for request in requests
            ],
        )
        return {
            request.id: self._graded(request, step, tokens, completions)
            for request, tokens, completions in zip(requests, inputs, rollouts, strict=True)
        }

    def _graded(
        self, request: RolloutRequest, step: int, tokens: list[int], completions: Sequence[Rollout]
    ) -> Graded:
        """Begin to grade the rollouts that reached their end."""
        prompt = self.prompts[request.id]
        ended = [rollout for rollout in completions if rollout.finish != "length"]
        grades = self.grader.submit(
            prompt, [one.text for one in ended], [len(one.token_ids) for one in ended]
        )

        def group() -> Group:
            graded = iter(grades())
            members = [
                self._member(one, None if one.finish == "length" else next(graded))
                for one in completions
            ]
            return Group(
                request.id,
                prompt.capability,
                tokens,
                members,
                probe=request.purpose == "probe",
                system=self.encoder.system_of(request.id, step),
                pass_at=self.config.pass_at,
            )

        return group

    def _member(self, rollout: Rollout, grade: Grade | None) -> Member:
        # Cut off at the engine's limit, or within its own thinking.
        if grade is None or grade.fault == CUT_OFF:
            fault = CUT_OFF if self.config.cut_off == "mask" else None
            return Member(rollout, 0.0, fault, cut_off=True)
        return Member(
            rollout,
            grade.reward,
            grade.fault,
            parts=grade.parts,
            checks=grade.checks,
            judge_tokens=grade.judge_tokens,
        )

    def _by_system_prompt(self, groups: Sequence[Group]) -> dict[str, float]:
        """Pass rate by system prompt, where there are several. A prompt with a system message of
        its own keeps that one and counts for none."""
        if len(self.config.system_prompts) < 2:
            return {}
        passes, graded = Counter[int](), Counter[int]()
        for group in groups:
            if self.prompts[group.prompt_id].messages[0]["role"] != "system":
                passes[group.system] += group.passes
                graded[group.system] += len(group.usable)
        return {f"system/{n}/pass_rate": passes[n] / graded[n] for n in sorted(graded) if graded[n]}


def _chunks(requests: Sequence[RolloutRequest]) -> Iterator[list[RolloutRequest]]:
    """The requests in order, of whatever sizes. A chunk has at most `CHUNK` rollouts, or is one
    request that has more."""
    chunk: list[RolloutRequest] = []
    size = 0
    for request in requests:
        if chunk and size + request.rollouts > CHUNK:
            yield chunk
            chunk, size = [], 0
        chunk.append(request)
        size += request.rollouts
    if chunk:
        yield chunk


def _result(group: Group) -> RolloutResult:
    cut_off = sum(member.cut_off for member in group.usable)
    fails = len(group.usable) - group.passes
    rewards = tuple(member.reward for member in group.usable)
    return RolloutResult(group.passes, fails, group.faults, group.tokens, cut_off, rewards)
