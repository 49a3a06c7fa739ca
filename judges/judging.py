"""Have a judge say how hard prompts are: what it said before is looked up, the rest is asked chunk by chunk and kept.

A chunk's answers are in the cache before the next one is asked, so a killed run goes on with the next chunk. Where a
chunk begins depends on the prompts alone, so what is asked together is the same after a kill.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from common.errors import Interrupted, RunFailed
from common.files import read_json, write_json
from common.fingerprint import fingerprint
from judges.cache import Cache
from judges.config import JudgeConfig
from judges.source import Likelihood, Source
from judges.texts import FOLDER, template
from judges.verdict import TRANSPORT, Kind, Verdict, faults_of
from prompts.schema import Prompt

CHUNK = 512
"""Questions asked at once: between two chunks progress is shown, answers are kept and a stop is heeded. An engine
drains at the end of each: the more at once, the less it stands half empty."""
UNREACHABLE = 4
"""Questions in one chunk whose failure on the way, all of them, means that the judge is gone."""

Answer = dict[str, Any]
"""What is kept of one question: `replies`, each with `fault`, None or why there is no value."""


class Judge(Protocol):
    """One way to judge."""

    @property
    def kind(self) -> Kind: ...
    @property
    def config(self) -> JudgeConfig: ...
    def items(self, prompts: Sequence[Prompt]) -> dict[str, tuple[Prompt, ...]]:
        """What to ask, by name."""
        ...

    def ask(self, items: Sequence[tuple[Prompt, ...]]) -> list[Answer]:
        """One answer a question, in order, as JSON values."""
        ...

    def verdicts(self, prompts: Sequence[Prompt], answers: Mapping[str, Answer]) -> list[Verdict]:
        """A verdict a prompt, in order, from the answers by name."""
        ...


@dataclass(frozen=True)
class Judged:
    """A judge's verdicts and what they cost."""

    verdicts: list[Verdict]
    """In the order of the prompts."""
    asked: int
    """Questions that were not known before the stage began."""
    known: int
    """Questions whose answers were in the cache then."""
    tokens: int
    """Completion tokens of the questions asked."""


@dataclass(frozen=True)
class Asking:
    """Where questions go and what surrounds them."""

    cache: Cache
    identity: Any
    """Who the judge is, as JSON values: a checksum of its weights, or where it is reached."""
    began: Path
    """File that remembers which questions were open when the stage began: a killed stage counts as a whole one."""
    progress: Callable[..., None]
    stop_requested: Callable[[], bool]
    chunk: int = CHUNK


def judge_prompts(prompts: Sequence[Prompt], judge: Judge, asking: Asking) -> Judged:
    """What `judge` says of the prompts.

    Raises Interrupted between chunks when a stop is asked, and RunFailed when the judge cannot be reached, or when not
    one prompt could be judged.
    """
    items = judge.items(prompts)
    who = fingerprint([asking.identity, judge.kind, judge.config.asked(), texts_sum()])
    keys = {name: fingerprint([who, *map(_content, item)]) for name, item in items.items()}
    answers, opened = _answers({keys[name]: item for name, item in items.items()}, judge.ask, asking)
    verdicts = judge.verdicts(prompts, {name: answers[key] for name, key in keys.items()})
    _require_some(verdicts)
    tokens = sum(reply["tokens"] for key in opened for reply in answers[key]["replies"])
    return Judged(verdicts, len(opened), len(answers) - len(opened), tokens)


def likelihoods(prompts: Sequence[Prompt], source: Source, asking: Asking) -> dict[str, Likelihood]:
    """How likely each prompt's reference answer is, by the prompt's id."""

    def ask(items: Sequence[tuple[Prompt, ...]]) -> list[Answer]:
        found = source.likelihoods([prompt for (prompt,) in items])
        return [{"replies": [{"value": value, "fault": note, "tokens": 0}]} for value, note in found]

    keys = {p.id: fingerprint([asking.identity, "likelihood", _content(p)]) for p in prompts}
    answers, _ = _answers({keys[prompt.id]: (prompt,) for prompt in prompts}, ask, asking)
    replies = {id: answers[key]["replies"][0] for id, key in keys.items()}
    return {id: (reply["value"], reply["fault"]) for id, reply in replies.items()}


def _answers(
    items: Mapping[str, tuple[Prompt, ...]], ask: Callable[..., list[Answer]], asking: Asking
) -> tuple[dict[str, Answer], list[str]]:
    """Every item's answer by key, and the keys that were open when the stage began."""
    answers = asking.cache.get(items)
    if not asking.began.exists():
        write_json(asking.began, [key for key in items if key not in answers])
    opened, keys = read_json(asking.began), list(items)
    for start in range(0, len(keys), asking.chunk):
        part = [key for key in keys[start : start + asking.chunk] if key not in answers]
        if part and asking.stop_requested():
            raise Interrupted(f"stopped with {start} of {len(keys)} questions asked", "run the same command again")
        if part:
            found = dict(zip(part, ask([items[key] for key in part]), strict=True))
            _require_reached(list(found.values()), alone=not answers)
            asking.cache.put({key: answer for key, answer in found.items() if not TRANSPORT & _faults(answer)})
            answers |= found
        asking.progress(min(start + asking.chunk, len(keys)), len(keys), unit="question")
    return answers, opened


def texts_sum() -> str:
    """A checksum over the questions' wording."""
    return fingerprint({path.stem: template(path.stem) for path in FOLDER.glob("*.txt")})


def _content(prompt: Prompt) -> list[Any]:
    """What of a prompt decides a reply; its id does not."""
    return [prompt.messages, prompt.answer]


def _faults(answer: Answer) -> set[str]:
    return {reply["fault"] for reply in answer["replies"] if reply["fault"] is not None}


def _require_reached(answers: Sequence[Answer], alone: bool) -> None:
    """A judge that nobody reaches: fail now, not after a time-out a prompt. `alone`: no other answer is known."""
    lost = [fault for answer in answers for fault in _faults(answer) & TRANSPORT]
    gone = all(reply["fault"] in TRANSPORT for answer in answers for reply in answer["replies"])
    if gone and (alone or len(answers) >= UNREACHABLE):
        counts = ", ".join(f"{fault} {count} times" for fault, count in sorted(Counter(lost).items()))
        raise RunFailed(
            f"the judge could not be reached for {len(answers)} questions in a row: {counts}",
            "check that the endpoint runs and that url is right; the same command asks what is missing",
        )


def _require_some(verdicts: Sequence[Verdict]) -> None:
    if not any(verdict.graded for verdict in verdicts):
        counts = ", ".join(f"{fault} {count} times" for fault, count in faults_of(verdicts).items())
        raise RunFailed(
            f"not one of {len(verdicts)} prompts could be judged: {counts}",
            "take a judge that answers in the form asked for, or check verifiers and lengths against its settings",
        )
