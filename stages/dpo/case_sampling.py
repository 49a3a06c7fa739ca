"""Samples answers to the training prompts of corner cases from the policy that is to be trained,
and makes pairs of them.

It comes before training: the engine is closed again, and the pairs are kept, so that a stage that
was killed later does not sample again."""

import gc
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from common.artifacts import CHECKPOINT, HELD_OUT
from common.errors import Interrupted
from common.faults import NOT_ENCODED, TOO_LONG
from common.files import read_sealed, write_sealed
from common.seeds import derive
from common.stage import Inputs, StageContext
from corner_cases.registry import CASES
from corner_cases.sets import question_of
from prompts.repeats import normalised
from prompts.schema import Prompt, read_prompts
from rewards.grader import Grader
from rollouts.interface import RolloutEngine
from rollouts.start import start_engine
from stages.dpo.case_answers import LENGTH, Answers, examined, graded
from stages.dpo.case_pairs import CaseFigures, CasePair, Match, balanced, matches
from stages.dpo.config import DpoStage
from stages.dpo.sources import PairSource
from stages.grading import open_grader
from training.processes import broadcast
from training.resume import resume_folder

STATE = "corner_cases.json"
"""What is kept of the sampling, beside the stage's checkpoints."""
STOPPED = (
    "stopped while the corner cases were sampled",
    "run the same command again: it samples anew",
)


@dataclass
class SampledPairs:
    """The pairs of a stage's corner cases."""

    pairs: list[CasePair] = field(default_factory=list)
    messages: list[list[dict[str, str]]] = field(default_factory=list)
    """The conversation that each pair answers."""
    cut_ids: list[list[int]] = field(default_factory=list)
    """The tokens of each rejected answer that the limit ended; empty for the others."""
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By case (`CaseFigures.to_json`)."""
    notes: list[str] = field(default_factory=list)
    tokens_generated: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "SampledPairs":
        return cls(**{**data, "pairs": [CasePair(**one) for one in data["pairs"]]})


def sampled_pairs(
    config: DpoStage, source: PairSource, most: int, inputs: Inputs, context: StageContext
) -> SampledPairs:
    """At most `most` pairs, on every process. Process 0 samples them, unless it did so before.

    Raises Interrupted on every process when a stop is asked for."""
    found = None
    if context.main:
        found = _known(context)
        try:
            found = found or _sample(config, source, most, inputs, context)
        except Interrupted:
            found = None
    found = broadcast(context, found)
    if found is None:
        raise Interrupted(*STOPPED)
    return found


def _known(context: StageContext) -> SampledPairs | None:
    """What an earlier attempt of the stage sampled to the end."""
    path = resume_folder(context) / STATE
    try:
        return SampledPairs.from_json(read_sealed(path))
    except FileNotFoundError:
        return None
    except ValueError as error:
        context.note(f"{error}; the corner cases are sampled again")
        return None


def _sample(
    config: DpoStage, source: PairSource, most: int, inputs: Inputs, context: StageContext
) -> SampledPairs:
    held_out = read_prompts(HELD_OUT.path(inputs["held_out"]), may_be_empty=True)
    sampler = Sampler(config, source, context)
    checkpoint = CHECKPOINT.path(inputs["checkpoint"])
    with open_grader(context) as grader:
        prompts = sampler.prompts(held_out)
        grader.prepare(prompt for prompt in prompts if not prompt.is_demonstration)
        with _engine(checkpoint, config, context) as engine:
            answers = sampler.ask(prompts, engine, grader)
            found = sampler.pairs(answers, most, engine)
    resume_folder(context).mkdir(exist_ok=True)
    write_sealed(resume_folder(context) / STATE, found.to_json())
    return found


@contextmanager
def _engine(checkpoint: Path, config: DpoStage, context: StageContext) -> Iterator[RolloutEngine]:
    """The engine, which leaves the process as it was: a stage that goes on later trains without
    having had one, and must end in the same bits."""
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    engine = start_engine(checkpoint, config.rollouts, derive(context.seed, "engine"), context)
    try:
        yield engine
    finally:
        engine.close()
        del engine
        gc.collect()  # training needs the engine's memory
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)


def drawn(case: str, most: int | None, seed: int) -> list[Prompt]:
    """At most `most` training prompts of a case, in their order. The prompts that ask one question
    in several languages are drawn together."""
    prompts = CASES[case].training_prompts()
    questions = list(dict.fromkeys(question_of(prompt) for prompt in prompts))
    if most is None or most >= len(questions):
        return prompts
    kept = set(random.Random(f"{seed}:{case}").sample(questions, most))
    return [prompt for prompt in prompts if question_of(prompt) in kept]


class Sampler:
    """One sampling of the corner cases of a source."""

    def __init__(self, config: DpoStage, source: PairSource, context: StageContext) -> None:
        self.config, self.source, self.context = config, source, context
        self.figures: dict[str, CaseFigures] = {name: CaseFigures() for name in source.cases}
        self.tokens = 0

    def prompts(self, held_out: Sequence[Prompt]) -> list[Prompt]:
        """The training prompts of the cases, without those that the run holds out."""
        kept, held = [], {normalised(prompt) for prompt in held_out}
        for name in self.source.cases:
            for prompt in drawn(name, self.source.prompts_per_case, self.context.seed):
                figures = self.figures[name]
                figures.prompts += 1
                if normalised(prompt) in held:
                    figures.without_pair["held_out"] += 1
                else:
                    kept.append(prompt)
        return kept

    def ask(
        self, prompts: Sequence[Prompt], engine: RolloutEngine, grader: Grader
    ) -> list[Answers]:
        """The answers to the prompts that can be asked, in their order. The engine gets as many at
        once as it decodes together; between, progress is reported and a stop is heeded."""
        usable = list(self._encoded(prompts, engine))
        answers: list[Answers] = []
        at_once = max(self.context.execution.max_num_seqs // self.source.samples, 1)
        for start in range(0, len(usable), at_once):
            self.context.progress(start, len(usable), unit="prompt")
            if self.context.stop_requested():
                raise Interrupted(*STOPPED)
            chunk = usable[start : start + at_once]
            groups = engine.generate(
                [tokens for _, tokens in chunk],
                samples=self.source.samples,
                temperature=self.source.temperature,
                max_tokens=self.source.max_tokens,
                seeds=[derive(self.context.seed, "corner_case", p.id) for p, _ in chunk],
            )
            for (prompt, _), rollouts in zip(chunk, groups, strict=True):
                self.tokens += sum(len(one.token_ids) for one in rollouts)
                answers.append(graded(prompt, rollouts, grader))
        return answers

    def _encoded(
        self, prompts: Sequence[Prompt], engine: RolloutEngine
    ) -> Iterator[tuple[Prompt, list[int]]]:
        """The prompts that leave room for the longest answer, with their tokens; a score needs room
        for one token more."""
        room = engine.max_model_len - self.source.max_tokens - 1
        for prompt in prompts:
            unusable = self.figures[prompt.capability].without_pair
            try:
                tokens = engine.encode(prompt.messages)
            # A chat template is a program that came with the checkpoint: it may raise anything.
            except Exception as error:
                print(f"{prompt.named} cannot be encoded: {type(error).__name__}: {error}")
                unusable[NOT_ENCODED] += 1
                continue
            if len(tokens) > room:
                unusable[TOO_LONG] += 1
            else:
                yield prompt, tokens

    def pairs(self, answers: Sequence[Answers], most: int, engine: RolloutEngine) -> SampledPairs:
        """The pairs to train on, with their log-probabilities under the policy."""
        found: list[Match] = []
        for name, figures in self.figures.items():
            mine = [one for one in answers if one.prompt.capability == name]
            for prompt, samples in examined(CASES[name], mine, figures):
                of_prompt = matches(
                    name,
                    prompt.id,
                    samples,
                    self.config.max_length_ratio,
                    self.source.pairs_per_prompt,
                )
                if isinstance(of_prompt, str):
                    figures.without_pair[of_prompt] += 1
                else:
                    figures.pairs += len(of_prompt)
                    found += of_prompt
        chosen = balanced(found, most, derive(self.context.seed, "corner_case_pairs"))
        by_id = {one.prompt.id: one.prompt for one in answers}
        pairs = _scored(chosen, by_id, engine)
        of_case = {name: [one for one in pairs if one.case == name] for name in self.figures}
        return SampledPairs(
            pairs,
            [by_id[one.prompt_id].messages for one in pairs],
            [m.rejected.token_ids if m.rejected.finish == LENGTH else [] for m in chosen],
            {name: one.to_json(of_case[name]) for name, one in self.figures.items()},
            list(self._notes()),
            self.tokens,
        )

    def _notes(self) -> Iterator[str]:
        for name, figures in self.figures.items():
            if not figures.pairs:
                why, remedy = figures.why_none()
                yield f"corner case {name} gives no pair ({why}); {remedy}"


def _scored(
    chosen: Sequence[Match], prompts: dict[str, Prompt], engine: RolloutEngine
) -> list[CasePair]:
    """The pairs with the mean log-probability of each answer under the policy."""
    if not chosen:
        return []
    inputs = [engine.encode(prompts[one.prompt_id].messages) for one in chosen]
    means = []
    for answers in ([one.chosen for one in chosen], [one.rejected for one in chosen]):
        scores = engine.score(inputs, [one.token_ids for one in answers])
        means.append([sum(row) / len(row) for row in scores])
    return [one.as_pair(*both) for one, both in zip(chosen, zip(*means, strict=True), strict=True)]
