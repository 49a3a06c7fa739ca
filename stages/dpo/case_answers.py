"""Grades the policy's answers to the prompts of corner cases and looks for the cases in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from common.faults import CUT_OFF
from common.thinking import answer_part
from corner_cases.interface import Finding, GradedReply, Reply
from corner_cases.registry import CASES, Case
from prompts.schema import Prompt
from rewards.grader import Grade, Grader
from rollouts.interface import Rollout
from stages.dpo.case_pairs import CaseFigures, Sample

TIMEOUT = "timeout"
LENGTH = "length"
"""How a completion finishes that its limit of tokens ended."""


@dataclass(frozen=True)
class Answers:
    """Completions of one prompt, with their grades if it has a verifier."""

    prompt: Prompt
    rollouts: Sequence[Rollout]
    grades: Sequence[Grade | None]

    def reply(self, place: int) -> GradedReply:
        """An answer beside those in other languages. One that was cut off shows nothing."""
        rollout, grade = self.rollouts[place], self.grades[place]
        text = answer_part(rollout.text) or ""
        if grade is None or grade.fault is not None or rollout.finish == LENGTH:
            return GradedReply(text, None)
        return GradedReply(text, grade.correct, grade.answer or "")


def graded(prompt: Prompt, rollouts: Sequence[Rollout], grader: Grader) -> Answers:
    if prompt.is_demonstration:
        return Answers(prompt, rollouts, [None] * len(rollouts))
    texts, lengths = [one.text for one in rollouts], [len(one.token_ids) for one in rollouts]
    return Answers(prompt, rollouts, grader.group(prompt, texts, lengths))


def examined(
    case: Case, answers: Sequence[Answers], figures: CaseFigures
) -> list[tuple[Prompt, list[Sample]]]:
    """The answers to the prompts of a case with what is found in them; counted in `figures`."""
    if case.detect_group is not None:
        samples = _by_groups(case, answers, figures)
    else:
        samples = [(one.prompt, _alone(case, one)) for one in answers]
        sound = [s for _, of in samples for s in of if s.fault is None]
        figures.rated += len(sound)
        figures.shown += sum(one.finding is not None for one in sound)
    for _, of in samples:
        figures.answers += len(of)
        figures.faults.update(one.fault for one in of if one.fault is not None)
    return samples


def _alone(case: Case, answers: Answers) -> list[Sample]:
    """The answers to a prompt whose case shows in one reply."""
    return [_sample(answers, place, case.name, None) for place in range(len(answers.rollouts))]


def _sample(answers: Answers, place: int, case: str, found: Finding | None) -> Sample:
    """An answer. `found` is its case if that shows in the answers to a group of prompts; `case` is
    looked for otherwise, and in an answer without it every other one."""
    rollout, grade = answers.rollouts[place], answers.grades[place]
    sample = Sample(rollout.text, rollout.token_ids, rollout.finish, clean=False, finding=found)
    text = answer_part(rollout.text)
    if text is None:
        return replace(sample, finding=None, fault=CUT_OFF)
    if grade is not None and grade.fault is not None:
        return replace(sample, finding=None, fault=grade.fault)
    reply = Reply(text, rollout.finish)
    try:
        detect = CASES[case].detect
        finding = found or (detect(answers.prompt, reply) if detect else None)
        right = grade is None or grade.correct
        clean = right and finding is None and not _shows_any(answers.prompt, reply)
    except TimeoutError:
        return replace(sample, finding=None, fault=TIMEOUT)
    return replace(sample, finding=finding, clean=clean)


def _shows_any(prompt: Prompt, reply: Reply) -> bool:
    """Whether a reply shows a corner case, the prompt's or another one: what is preferred must not
    teach another fault."""
    detectors = (case.detect for case in CASES.values() if case.detect is not None)
    return any(detect(prompt, reply) is not None for detect in detectors)


def _by_groups(
    case: Case, answers: Sequence[Answers], figures: CaseFigures
) -> list[tuple[Prompt, list[Sample]]]:
    """The answers to prompts that ask the same in several languages.

    The n-th answers of a group are compared with each other. Where they differ, those that are
    wrong show the case, each against a right one in its own language."""
    groups: dict[str, dict[str, Answers]] = {}
    for one in answers:
        group, language = one.prompt.metadata["group"], one.prompt.metadata["language"]
        groups.setdefault(group, {})[language] = one
    findings = {
        (group, draw): _difference(case, by_language, draw, figures)
        for group, by_language in groups.items()
        for draw in range(max(len(one.rollouts) for one in by_language.values()))
    }
    return [(one.prompt, _of_group(case, one, findings)) for one in answers]


def _difference(
    case: Case, by_language: Mapping[str, Answers], draw: int, figures: CaseFigures
) -> Finding | None:
    """Whether the answers of one draw differ between languages."""
    assert case.detect_group is not None
    replies = {
        name: one.reply(draw) for name, one in by_language.items() if draw < len(one.rollouts)
    }
    found = case.detect_group(replies)
    figures.rated += sum(reply.right is not None for reply in replies.values()) > 1
    figures.shown += found is not None
    return found


def _of_group(
    case: Case, answers: Answers, findings: Mapping[tuple[str, int], Finding | None]
) -> list[Sample]:
    samples = []
    for draw in range(len(answers.rollouts)):
        wrong = answers.reply(draw).right is False
        found = findings[answers.prompt.metadata["group"], draw] if wrong else None
        samples.append(_sample(answers, draw, case.name, found))
    return samples
