"""One step's practice: draw prompts from the ledger, roll them out, grade, book, and keep the groups that teach.

Groups without a spread of rewards are booked in the ledger, dropped from the loss and replaced by another draw. Every
`refilter_every` steps the policy probes the prompts whose estimate is oldest or least certain; what it finds too easy
rests, and what slipped comes back.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from common.errors import RunFailed
from common.seeds import derive
from curriculum.ledger import Ledger
from curriculum.select import draw, refilter_choice, transitions
from prompts.schema import Prompt
from rewards.grade import Grade
from stages.lengths import require_room
from stages.rl.config import RlStage
from stages.rl.groups import CUT_OFF, Group, Member

EMPTY_STEPS = 5
"""Steps in a row without one group to learn from after which the run stops."""


@dataclass
class Tally:
    """What one step cost and brought."""

    groups: int = 0
    mixed: int = 0
    rollouts: int = 0
    tokens: int = 0
    passes: int = 0
    probed: int = 0
    retired: int = 0
    recalled: int = 0
    rounds: int = 0
    faults: Counter[str] = field(default_factory=Counter)

    def book(self, group: Group) -> None:
        self.groups += 1
        self.mixed += group.mixed
        self.rollouts += len(group.members)
        self.tokens += group.tokens
        self.passes += group.passes
        self.faults += group.faults


class Practice:
    """Draws and rolls out; the ledger and `empty_steps` are its only memory from step to step."""

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
        self.encoded = {id: engine.encode(prompt.messages) for id, prompt in prompts.items()}
        room = engine.max_model_len - config.max_tokens
        lengths = {id: len(tokens) for id, tokens in self.encoded.items()}
        remedy = "raise rollouts.max_model_len, lower max_tokens, or remove them"
        require_room(lengths, room, "rollouts.max_model_len less max_tokens, a room", remedy)
        self.empty_steps = 0

    def step(self, step: int) -> tuple[list[Group], list[Group], Tally]:
        """The groups to train on, every group rolled out, and the tally. The policy's version is the step's number."""
        tally, everything = Tally(), []
        if step and step % self.config.curriculum.refilter_every == 0:
            everything += self._refilter(step, tally)
        chosen: list[Group] = []
        drawn: set[str] = set()
        for round_ in range(self.config.curriculum.max_rounds):
            missing = self.config.prompts_per_step - len(chosen)
            ids = self._draw(missing, step, round_, drawn) if missing else []
            if not ids:
                break
            groups = self._roll(ids, self.config.group_size, step, f"round {round_}", probe=False)
            self._book(groups, step, tally)
            tally.rounds += 1
            drawn.update(ids)
            everything += groups
            chosen += [group for group in groups if group.mixed]
        self._refuse_to_starve(chosen, step)
        return chosen, everything, tally

    def _draw(self, count: int, step: int, round_: int, drawn: set[str]) -> list[str]:
        return draw(
            self.ledger.rows(),
            count,
            self.config.curriculum,
            self.config.group_size,
            step,
            derive(self.seed, "draw", step, round_),
            drawn,
        ).ids

    def _roll(self, ids: Sequence[str], samples: int, step: int, what: str, *, probe: bool) -> list[Group]:
        rollouts = self.engine.generate(
            [self.encoded[id] for id in ids],
            samples=samples,
            temperature=self.config.temperature,
            max_tokens=self.config.max_tokens,
            seeds=[derive(self.seed, "rollout", step, what, id) for id in ids],
        )
        groups = []
        for id, completions in zip(ids, rollouts, strict=True):
            members = [self._member(self.prompts[id], rollout) for rollout in completions]
            groups.append(Group(id, self.prompts[id].capability, self.encoded[id], members, probe))
        return groups

    def _member(self, prompt: Prompt, rollout: Any) -> Member:
        if rollout.finish == "length":
            masked = self.config.cut_off == "mask"
            return Member(rollout, 0.0, CUT_OFF if masked else None)
        graded = self.grade(prompt, rollout.text)
        return Member(rollout, 1.0 if graded.correct else 0.0, graded.fault)

    def _book(self, groups: Sequence[Group], step: int, tally: Tally) -> None:
        with self.ledger.transaction():
            for group in groups:
                fails = len(group.usable) - group.passes
                decay = self.config.curriculum.decay
                self.ledger.observe(group.prompt_id, group.passes, fails, group.faults, step, step=step, decay=decay)
        for group in groups:
            tally.book(group)

    def _refilter(self, step: int, tally: Tally) -> list[Group]:
        curriculum = self.config.curriculum
        ids = refilter_choice(self.ledger.rows(), curriculum, step, derive(self.seed, "refilter", step))
        groups = self._roll(ids, curriculum.probe_attempts, step, "probe", probe=True)
        self._book(groups, step, tally)
        change = transitions(self.ledger.rows(), curriculum, step)
        with self.ledger.transaction():
            self.ledger.retire(change.retire, step)
            self.ledger.recall(change.recall, step)
        tally.probed, tally.retired, tally.recalled = len(groups), len(change.retire), len(change.recall)
        return groups

    def _refuse_to_starve(self, chosen: Sequence[Group], step: int) -> None:
        self.empty_steps = 0 if chosen else self.empty_steps + 1
        if self.empty_steps < EMPTY_STEPS:
            return
        rows = [row for row in self.ledger.rows() if not row.resting]
        rates = [row.posterior(self.config.curriculum.decay, step).mean for row in rows]
        easy = sum(rate > 0.5 for rate in rates)
        raise RunFailed(
            f"no group with a spread of rewards in {EMPTY_STEPS} steps: of {len(rows)} active prompts {easy} look "
            f"solved and {len(rates) - easy} out of reach (step {step})",
            "add prompts of medium difficulty, train SFT longer, or raise group_size",
        )
