"""How hard a prompt is for a model: let it try a few times and let the prompt's verifier grade.

Where the completions come from is a `Source`: an engine here or an endpoint (`judges.endpoint`). Verdicts go to a
file chunk by chunk, so that a killed run asks again only for those it had not written.
"""

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from common.errors import Interrupted, RunFailed
from common.files import read_json_lines, write_text
from common.seeds import derive
from judges.verdict import Attempt, Verdict
from prompts.schema import Prompt
from rewards.grade import Grade

CHUNK = 128
"""Prompts asked at once: between two chunks progress is shown, verdicts are saved and a stop is heeded."""
UNREACHABLE = 4
"""Prompts in a row, and nothing else asked beside them, whose failure means that the judge is gone."""
TRANSPORT = frozenset({"endpoint_timeout", "endpoint_error"})
"""Faults of the way to the judge: worth asking again."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What a source gave for one attempt; `finish` as in `Attempt`, `fault` set when there is no completion."""

    text: str
    finish: str
    tokens: int = 0
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What a source gave for one prompt: as many completions as attempts asked, faults in place of missing ones."""

    completions: list[Completion]
    reference_logprob: float | None = None
    reference_note: str | None = None


class Source(Protocol):
    """Where attempts come from."""

    def ask(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> list[Reply]:
        """One reply a prompt, in order; a prompt's seed alone decides its sampling."""
        ...


Grader = Callable[[Prompt, str], Grade]


def judge_attempts(
    prompts: Sequence[Prompt],
    source: Source,
    grade: Grader,
    path: Path,
    seed: int,
    progress: Callable[..., None],
    stop_requested: Callable[[], bool],
    chunk: int = CHUNK,
) -> list[Verdict]:
    """A verdict a prompt, in order; also in `path`, one JSON line each, in the same order once all are there.

    Goes on from what `path` holds. Raises Interrupted between chunks when a stop is asked, and RunFailed when the way
    to the judge failed for every prompt of a chunk, or when no prompt at all could be graded.
    """
    found = _finished(path, {prompt.id for prompt in prompts})
    progress(len(found), len(prompts), unit="prompt")
    for start in range(0, len(prompts), chunk):
        asked = [prompt for prompt in prompts[start : start + chunk] if prompt.id not in found]
        if not asked:
            continue
        if stop_requested():
            raise Interrupted(f"stopped with {len(found)} of {len(prompts)} prompts judged")
        replies = source.ask(asked, [derive(seed, "attempts", prompt.id) for prompt in asked])
        verdicts = [_verdict(prompt, reply, grade) for prompt, reply in zip(asked, replies, strict=True)]
        if len(asked) >= UNREACHABLE or not found:
            _check_reached(verdicts)
        _append(path, verdicts)
        found |= {verdict.id: verdict for verdict in verdicts}
        progress(len(found), len(prompts), unit="prompt", pass_rate=_pass_rate(verdicts))
    ordered = [found[prompt.id] for prompt in prompts]
    _check_any_graded(ordered)
    write_text(path, "".join(_line(verdict) for verdict in ordered))
    return ordered


def mean_logprob(logprobs: Sequence[float]) -> tuple[float | None, str | None]:
    """(mean, None), or (None, why not) when there is no finite mean."""
    if not logprobs:
        return None, "empty_answer"
    mean = math.fsum(logprobs) / len(logprobs) if all(map(math.isfinite, logprobs)) else None
    return mean, None if mean is not None else "not_finite"


def _verdict(prompt: Prompt, reply: Reply, grade: Grader) -> Verdict:
    attempts = [_attempt(prompt, completion, grade) for completion in reply.completions]
    return Verdict(prompt.id, attempts, reply.reference_logprob, reply.reference_note)


def _attempt(prompt: Prompt, completion: Completion, grade: Grader) -> Attempt:
    text, finish, tokens = completion.text, completion.finish, completion.tokens
    if completion.fault is not None:
        return Attempt(text, finish, tokens, reward=None, passed=False, answer=None, fault=completion.fault)
    got = grade(prompt, text)
    if got.fault is not None:
        return Attempt(text, finish, tokens, reward=None, passed=False, answer=got.answer, fault=got.fault)
    return Attempt(text, finish, tokens, reward=got.reward, passed=got.correct, answer=got.answer, fault=None)


def _finished(path: Path, ids: set[str]) -> dict[str, Verdict]:
    """Verdicts worth keeping of an earlier try; the file is rewritten to hold these and no half-written line."""
    verdicts = [Verdict.from_json(value) for value in read_json_lines(path)]
    kept = {verdict.id: verdict for verdict in verdicts if verdict.id in ids and not TRANSPORT & {*verdict.faults}}
    write_text(path, "".join(_line(verdict) for verdict in kept.values()))
    return kept


def _line(verdict: Verdict) -> str:
    return json.dumps(verdict.to_json(), ensure_ascii=False, allow_nan=False) + "\n"


def _append(path: Path, verdicts: Sequence[Verdict]) -> None:
    with path.open("a", encoding="utf-8") as handle:
        handle.write("".join(_line(verdict) for verdict in verdicts))
        handle.flush()
        os.fsync(handle.fileno())


def _check_reached(verdicts: Sequence[Verdict]) -> None:
    """A judge that nobody reaches any more: fail now and not after a timeout a prompt."""
    if all({*verdict.faults} & TRANSPORT and not verdict.graded for verdict in verdicts):
        raise RunFailed(
            f"the judge could not be reached for {len(verdicts)} prompts in a row: {_counted(verdicts)}",
            "check that the endpoint runs and that url is right; the same command asks the missing prompts again",
        )


def _check_any_graded(verdicts: Sequence[Verdict]) -> None:
    if not any(verdict.graded for verdict in verdicts):
        raise RunFailed(
            f"not one of {len(verdicts)} prompts could be judged: {_counted(verdicts)}",
            "check the prompts' verifiers and lengths against the judge's settings",
        )


def _counted(verdicts: Sequence[Verdict]) -> str:
    totals: dict[str, int] = {}
    for verdict in verdicts:
        for reason, count in verdict.faults.items():
            totals[reason] = totals.get(reason, 0) + count
    return ", ".join(f"{reason} {count} times" for reason, count in sorted(totals.items()))


def _pass_rate(verdicts: Sequence[Verdict]) -> float:
    graded = sum(verdict.graded for verdict in verdicts)
    return sum(verdict.passed for verdict in verdicts) / graded if graded else 0.0
