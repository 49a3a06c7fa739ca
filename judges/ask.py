"""Have a judge say how hard prompts are: what it said before is looked up, the rest is asked chunk
by chunk and kept.

A chunk's answers are in the cache before the next one is asked, so a killed run goes on with the
next chunk. Where a chunk begins depends on the prompts alone, so what is asked together is the same
after a kill."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from common.errors import Interrupted, RunFailed
from common.faults import REMEDIES, main_fault, remedy_of
from common.files import read_json, write_json
from common.fingerprint import fingerprint
from judges.backend import Backend, Likelihood, Line
from judges.cache import Cache
from judges.config import JudgeConfig
from judges.texts import FOLDER, template
from judges.verdict import TRANSPORT, UNKEPT, UNREACHED, Kind, Verdict, faults_of, quoted
from prompts.schema import Prompt

CHUNK = 512
"""Questions asked at once: between two chunks progress is shown, answers are kept and a stop is
heeded. An engine drains at the end of each: the more at once, the less it stands half empty."""
LOST = 0.25
"""Share of the questions without an answer after a second asking, above which the judge is gone and
the stage fails."""

RawReply = dict[str, Any]
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

    def ask(self, items: Sequence[tuple[Prompt, ...]]) -> list[RawReply]:
        """One answer a question, in order, as JSON values."""
        ...

    def verdicts(self, prompts: Sequence[Prompt], answers: Mapping[str, RawReply]) -> list[Verdict]:
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
    """File that remembers which questions were open when the stage began: a killed stage counts as
    a whole one."""
    progress: Callable[..., None]
    stop_requested: Callable[[], bool]
    chunk: int = CHUNK
    line: Line = field(default_factory=Line)
    """To the source of the replies, if it is one that waits for them."""


def judge_prompts(prompts: Sequence[Prompt], judge: Judge, asking: Asking) -> Judged:
    """What `judge` says of the prompts.

    Raises Interrupted between chunks when a stop is asked, and RunFailed when the judge cannot be
    reached, or when not one prompt could be judged."""
    items = judge.items(prompts)
    who = fingerprint([asking.identity, judge.kind, judge.config.asked(), texts_sum()])
    keys = {
        name: fingerprint([who, *(_content(prompt, judge.kind) for prompt in item)])
        for name, item in items.items()
    }
    answers, opened = _answers(
        {keys[name]: item for name, item in items.items()}, judge.ask, asking
    )
    verdicts = judge.verdicts(prompts, {name: answers[key] for name, key in keys.items()})
    _require_some(verdicts)
    tokens = sum(reply["tokens"] for key in opened for reply in answers[key]["replies"])
    return Judged(verdicts, len(opened), len(answers) - len(opened), tokens)


def likelihoods(
    prompts: Sequence[Prompt], source: Backend, origin: Any, asking: Asking
) -> dict[str, Likelihood]:
    """How likely each prompt's reference answer is, by the prompt's id. `origin` as in
    `JudgeConfig.origin`."""

    def ask(items: Sequence[tuple[Prompt, ...]]) -> list[RawReply]:
        found = source.likelihoods([prompt for (prompt,) in items])
        return [
            {"replies": [{"value": value, "fault": note, "tokens": 0}]} for value, note in found
        ]

    who = fingerprint([asking.identity, "likelihood", origin])
    keys = {prompt.id: fingerprint([who, _content(prompt)]) for prompt in prompts}
    answers, _ = _answers({keys[prompt.id]: (prompt,) for prompt in prompts}, ask, asking)
    replies = {id: answers[key]["replies"][0] for id, key in keys.items()}
    return {id: (reply["value"], reply["fault"]) for id, reply in replies.items()}


def _answers(
    items: Mapping[str, tuple[Prompt, ...]], ask: Callable[..., list[RawReply]], asking: Asking
) -> tuple[dict[str, RawReply], list[str]]:
    """Every item's answer by key, and the keys that were open when the stage began."""
    answers = asking.cache.get(items)
    opened = _opened(
        [key for key in items if key not in answers], fingerprint(list(items)), asking.began
    )
    keys = list(items)
    for start in range(0, len(keys), asking.chunk):
        part = [key for key in keys[start : start + asking.chunk] if key not in answers]
        if part and asking.stop_requested():
            raise _stopped(answers, keys)
        asking.line.heard = _teller(asking, start, min(start + asking.chunk, len(keys)), len(keys))
        for _ in range(2):  # what was lost on the way is asked for once more
            if part:
                found = dict(zip(part, ask([items[key] for key in part]), strict=True))
                asking.cache.put(
                    {key: answer for key, answer in found.items() if not _with(answer, UNKEPT)}
                )
                if asking.line.failure is not None:
                    raise asking.line.failure
                if any(_with(answer, {"not_asked"}) for answer in found.values()):
                    raise _stopped(answers | found, keys)
                answers |= found
                part = [key for key in part if _with(answers[key], TRANSPORT)]
        _require_reached(answers)
        asking.progress(min(start + asking.chunk, len(keys)), len(keys), unit="question")
    return answers, opened


def _teller(asking: Asking, start: int, end: int, total: int) -> Callable[[int], None]:
    """Tells, in the middle of a chunk, how far it is: its questions may take hours. What is asked
    again counts once."""
    most = start

    def heard(count: int) -> None:
        nonlocal most
        most = max(most, min(start + count, end))
        asking.progress(most, total, unit="question")

    return heard


def _stopped(answers: Mapping[str, RawReply], keys: Sequence[str]) -> Interrupted:
    known = sum(key in answers and not _with(answers[key], UNKEPT) for key in keys)
    return Interrupted(
        f"stopped with {known} of {len(keys)} questions asked", "run the same command again"
    )


def _opened(open_: list[str], these: str, path: Path) -> list[str]:
    """The keys that were open when the stage began to ask these questions; now, unless `path`
    remembers."""
    remembered = read_json(path) if path.exists() else {}
    if remembered.get("of") != these:
        remembered = {"of": these, "open": open_}
        path.parent.mkdir(exist_ok=True)
        write_json(path, remembered)
    return list(remembered["open"])


def texts_sum() -> str:
    """A checksum over the questions' wording."""
    return fingerprint({path.stem: template(path.stem) for path in FOLDER.glob("*.txt")})


def _content(prompt: Prompt, kind: Kind | None = None) -> list[Any]:
    """What of a prompt decides a reply; its id does not. Which attempts are tried again is the
    verifier's word too."""
    graded = [prompt.verifier, prompt.metadata] if kind == "attempts" else []
    return [prompt.messages, prompt.answer, *graded]


def _with(answer: RawReply, faults: Collection[str]) -> bool:
    """Whether a part of the answer has one of the faults."""
    return any(reply["fault"] in faults for reply in answer["replies"])


def _require_reached(answers: Mapping[str, RawReply]) -> None:
    """A judge that gives no answers any more, or never gave one: fail now, not after a time-out a
    prompt."""
    lost = sum(_with(answer, TRANSPORT) for answer in answers.values())
    refused = sum(_with(answer, UNKEPT - TRANSPORT) for answer in answers.values())
    if lost <= LOST * len(answers) and not 0 < refused == len(answers):
        return
    replies = [
        (reply["fault"], reply.get("text", ""))
        for one in answers.values()
        for reply in one["replies"]
    ]
    faults = Counter(fault for fault, _ in replies if fault in UNKEPT)
    counts = ", ".join(f"{fault} {n} times" for fault, n in sorted(faults.items()))
    if not UNREACHED.issuperset(faults):
        raise RunFailed(
            f"the judge gave no answer to {max(lost, refused)} of {len(answers)} questions:"
            f" {counts}{quoted(replies)}",
            "see to what it says, or have it asked otherwise (leave_out, length_parameter,"
            " top_logprobs, extra); the same command asks what is missing",
        )
    raise RunFailed(
        f"the judge could not be reached for {lost} of {len(answers)} questions: {counts}",
        "check that the endpoint runs and that url is right; the same command asks what is missing",
    )


def _require_some(verdicts: Sequence[Verdict]) -> None:
    if not any(verdict.graded for verdict in verdicts):
        faults = faults_of(verdicts)
        counts = ", ".join(f"{fault} {count} times" for fault, count in faults.items())
        said = quoted(
            (reply.fault, reply.text) for verdict in verdicts for reply in verdict.replies
        )
        reason = main_fault(faults, sum(faults.values()))
        otherwise = (
            "take a judge that answers in the form asked for, or check verifiers and lengths"
            " against its settings"
        )
        raise RunFailed(
            f"not one of {len(verdicts)} prompts could be judged: {counts}{said}",
            f"of the judge: {remedy_of(reason)}" if reason in REMEDIES else otherwise,
        )
