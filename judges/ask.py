"""Have a judge rate prompts: known replies come from the cache, the others are asked in chunks.

The replies of a chunk are cached before the next chunk is asked, so a killed run continues with the
next chunk. Chunk boundaries depend on the prompts alone, so the same questions are asked together
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
from common.reply_cache import ReplyCache
from judges.backend import Backend, BackendMonitor, Likelihood
from judges.config import JudgeConfig
from judges.texts import template
from judges.verdict import (
    TRANSPORT_FAULTS,
    UNCACHED_FAULTS,
    UNREACHABLE_FAULTS,
    JudgeKind,
    Verdict,
    endpoint_quote,
    faults_of,
)
from prompts.schema import Prompt

CHUNK = 512
"""Questions per chunk. Between chunks progress is reported, replies are cached and a stop is
honoured. An engine drains at the end of each chunk, so large chunks keep it busier."""
MAX_LOST_SHARE = 0.25
"""Largest share of questions that may stay without an answer after a second attempt. Above it the
judge counts as unreachable and the stage fails."""

TEXTS = ("grader", "pairwise", "rubric")
"""The questions about prompts, by the names of their templates."""

RawReplies = dict[str, Any]
"""What is cached per question: `replies`, a list of dicts. `fault` in each is None, or why there is
no value."""


class Judge(Protocol):
    """A kind of judge."""

    @property
    def kind(self) -> JudgeKind: ...
    @property
    def config(self) -> JudgeConfig: ...
    def items(self, prompts: Sequence[Prompt]) -> dict[str, tuple[Prompt, ...]]:
        """The questions by name, each as the prompts that it is about."""
        ...

    def ask(self, items: Sequence[tuple[Prompt, ...]]) -> list[RawReplies]:
        """The replies to each question, in order, as JSON values."""
        ...

    def verdicts(
        self, prompts: Sequence[Prompt], answers: Mapping[str, RawReplies]
    ) -> list[Verdict]:
        """One verdict per prompt, in order, from the replies by question name."""
        ...


@dataclass(frozen=True)
class JudgingResult:
    """A judge's verdicts and their cost."""

    verdicts: list[Verdict]
    """In the order of the prompts."""
    asked: int
    """Questions that were not in the cache when the stage began."""
    known: int
    """Questions that were in the cache then."""
    tokens: int
    """Completion tokens of the questions asked."""


@dataclass(frozen=True)
class JudgeSession:
    """The cache, the judge's identity and the callbacks of one round of questions."""

    cache: ReplyCache
    identity: Any
    """Identity of the judge as JSON values: a checksum of its weights, or its URL."""
    open_questions: Path
    """File with the questions that were open when the stage began. With it, the counts of a killed
    and resumed stage equal those of an uninterrupted one."""
    progress: Callable[..., None]
    stop_requested: Callable[[], bool]
    chunk: int = CHUNK
    monitor: BackendMonitor = field(default_factory=BackendMonitor)
    """The monitor of the backend that answers."""
    spared: int = 0
    """Questions that need no answer any more. They count as answered by a reachable judge."""


def judge_prompts(prompts: Sequence[Prompt], judge: Judge, session: JudgeSession) -> JudgingResult:
    """The verdicts of `judge` on the prompts.

    Raises Interrupted if a stop is requested, and RunFailed if the judge is unreachable or no
    prompt could be judged."""
    result = ask_judge(prompts, judge, session)
    require_some(result.verdicts)
    return result


def ask_judge(prompts: Sequence[Prompt], judge: Judge, session: JudgeSession) -> JudgingResult:
    """As `judge_prompts`, but there need not be a verdict."""
    items = judge.items(prompts)
    who = fingerprint([session.identity, judge.kind, judge.config.asked(), texts_checksum()])
    keys = {
        name: fingerprint([who, *(_content(prompt, judge.kind) for prompt in item)])
        for name, item in items.items()
    }
    answers, asked = _answers(
        {keys[name]: item for name, item in items.items()}, judge.ask, session
    )
    verdicts = judge.verdicts(prompts, {name: answers[key] for name, key in keys.items()})
    tokens = sum(reply["tokens"] for key in asked for reply in answers[key]["replies"])
    return JudgingResult(verdicts, len(asked), len(answers) - len(asked), tokens)


def likelihoods(
    prompts: Sequence[Prompt], backend: Backend, origin: Any, session: JudgeSession
) -> dict[str, Likelihood]:
    """Likelihood of each prompt's reference answer, by prompt id. `origin` is as in
    `JudgeConfig.origin`."""

    def ask(items: Sequence[tuple[Prompt, ...]]) -> list[RawReplies]:
        return [
            {"replies": [{"value": value, "fault": fault, "tokens": 0}]}
            for value, fault in backend.likelihoods([prompt for (prompt,) in items])
        ]

    who = fingerprint([session.identity, "likelihood", origin])
    keys = {prompt.id: fingerprint([who, _content(prompt)]) for prompt in prompts}
    answers, _ = _answers({keys[prompt.id]: (prompt,) for prompt in prompts}, ask, session)
    replies = {id: answers[key]["replies"][0] for id, key in keys.items()}
    return {id: (reply["value"], reply["fault"]) for id, reply in replies.items()}


def _answers(
    items: Mapping[str, tuple[Prompt, ...]],
    ask: Callable[..., list[RawReplies]],
    session: JudgeSession,
) -> tuple[dict[str, RawReplies], list[str]]:
    """Every item's answer by key, and the keys that were open when the stage began."""
    answers = session.cache.get(items)
    keys = list(items)
    asked = _open_keys(
        [key for key in keys if key not in answers], fingerprint(keys), session.open_questions
    )
    for start in range(0, len(keys), session.chunk):
        end = min(start + session.chunk, len(keys))
        missing = [key for key in keys[start:end] if key not in answers]
        if missing and session.stop_requested():
            raise _stopped(answers, keys)
        session.monitor.on_answers = _progress_reporter(session, start, end, len(keys))
        for _ in range(2):  # questions lost in transport are asked once more
            if missing:
                replies = ask([items[key] for key in missing])
                new = dict(zip(missing, replies, strict=True))
                session.cache.put(
                    {key: raw for key, raw in new.items() if not has_fault(raw, UNCACHED_FAULTS)}
                )
                if session.monitor.failure is not None:
                    raise session.monitor.failure
                if any(has_fault(raw, {"not_asked"}) for raw in new.values()):
                    raise _stopped(answers | new, keys)
                answers |= new
                missing = [key for key in missing if has_fault(answers[key], TRANSPORT_FAULTS)]
        require_reachable(answers.values(), session.spared)
        session.progress(end, len(keys), unit="question")
    return answers, asked


def _progress_reporter(
    session: JudgeSession, start: int, end: int, total: int
) -> Callable[[int], None]:
    """Reports progress within a chunk, whose questions may take hours. A question that is asked
    twice counts once."""
    most = start

    def report(count: int) -> None:
        nonlocal most
        most = max(most, min(start + count, end))
        session.progress(most, total, unit="question")

    return report


def _stopped(answers: Mapping[str, RawReplies], keys: Sequence[str]) -> Interrupted:
    known = sum(key in answers and not has_fault(answers[key], UNCACHED_FAULTS) for key in keys)
    return Interrupted(
        f"stopped with {known} of {len(keys)} questions asked", "run the same command again"
    )


def _open_keys(open_now: list[str], questions: str, path: Path) -> list[str]:
    """The keys that were open when the stage began to ask these questions (given by their
    fingerprint): those stored in `path`, or `open_now` if the file has none for them."""
    stored = read_json(path) if path.exists() else {}
    if stored.get("of") != questions:
        stored = {"of": questions, "open": open_now}
        path.parent.mkdir(exist_ok=True)
        write_json(path, stored)
    return list(stored["open"])


def texts_checksum() -> str:
    """A checksum over the wording of the questions about prompts."""
    return fingerprint({name: template(name) for name in TEXTS})


def _content(prompt: Prompt, kind: JudgeKind | None = None) -> list[Any]:
    """The parts of a prompt that decide a reply; its id is not among them.

    Of attempts the verifier is one: its grades decide which attempts are retried. A rating of a
    demonstration is about what it shows."""
    graded = [prompt.verifier, prompt.metadata] if kind == "attempts" else []
    shown = [prompt.verifier, prompt.target] if kind == "rubric" and prompt.is_demonstration else []
    return [prompt.messages, prompt.answer, *graded, *shown]


def has_fault(raw: RawReplies, faults: Collection[str]) -> bool:
    """Whether any of the replies has one of the faults."""
    return any(reply["fault"] in faults for reply in raw["replies"])


def require_reachable(answers: Collection[RawReplies], spared: int = 0) -> None:
    """Raise RunFailed if the judge stopped answering or never answered. Otherwise every further
    question would cost a time-out. `spared` questions more count as answered."""
    known = len(answers) + spared
    lost = sum(has_fault(raw, TRANSPORT_FAULTS) for raw in answers)
    refused = sum(has_fault(raw, UNCACHED_FAULTS - TRANSPORT_FAULTS) for raw in answers)
    if lost <= MAX_LOST_SHARE * known and not 0 < refused == known:
        return
    replies = [
        (reply["fault"], reply.get("text", "")) for raw in answers for reply in raw["replies"]
    ]
    faults = Counter(fault for fault, _ in replies if fault in UNCACHED_FAULTS)
    counts = ", ".join(f"{fault} {n} times" for fault, n in sorted(faults.items()))
    if not UNREACHABLE_FAULTS.issuperset(faults):
        raise RunFailed(
            f"the judge gave no answer to {max(lost, refused)} of {len(answers)} questions:"
            f" {counts}{endpoint_quote(replies)}",
            "fix what the endpoint reports, or change the request (leave_out, length_parameter,"
            " top_logprobs, extra); the same command asks the missing questions",
        )
    raise RunFailed(
        f"the judge could not be reached for {lost} of {len(answers)} questions: {counts}",
        "check that the endpoint runs and that url is right; the same command asks the missing"
        " questions",
    )


def require_some(verdicts: Sequence[Verdict]) -> None:
    """Raise RunFailed if no prompt has a graded reply."""
    if any(verdict.graded for verdict in verdicts):
        return
    faults = faults_of(verdicts)
    counts = ", ".join(f"{fault} {count} times" for fault, count in faults.items())
    quote = endpoint_quote(
        (reply.fault, reply.text) for verdict in verdicts for reply in verdict.replies
    )
    fault = main_fault(faults, sum(faults.values()))
    otherwise = (
        "use a judge that answers in the form asked for, or check verifiers and lengths against"
        " its settings"
    )
    raise RunFailed(
        f"not one of {len(verdicts)} prompts could be judged: {counts}{quote}",
        f"of the judge: {remedy_of(fault)}" if fault in REMEDIES else otherwise,
    )
