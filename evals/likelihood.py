"""Asks multiple-choice questions by likelihood: the policy's answer is the option to which it gives
the highest log-likelihood after the question, by default per character.

Division by the number of characters is `acc_norm` of EleutherAI's lm-evaluation-harness; without it
short options win."""

from collections.abc import Callable, Iterator, Sequence

from common.faults import NOT_ENCODED, TOO_LONG
from corner_cases.sets import group_of
from evals.answer import Answer
from evals.asking import encoded_chat
from evals.config import SuiteConfig
from evals.suite_file import SuiteFile
from prompts.schema import Prompt
from rollouts.interface import AnsweringEngine

OPTIONS = "options"
"""Metadata of a prompt: its options by letter (`prompts/shape.py`)."""


def ask_likelihood(
    engine: AnsweringEngine,
    suite: SuiteConfig,
    prompts: Sequence[Prompt],
    batch: int,
    asked: Callable[[int], None],
) -> list[Answer]:
    """The most likely option of each prompt, in the prompts' order. The engine gets `batch`
    prompts at a time; `asked(count)` is called after each batch. What it raises ends the asking."""
    header = suite.header
    assert isinstance(header, SuiteFile)
    answers: list[Answer] = []
    for start in range(0, len(prompts), batch):
        part = prompts[start : start + batch]
        answers += _answers(engine, suite.name, header, part)
        asked(len(part))
    return answers


def _answers(
    engine: AnsweringEngine, suite: str, header: SuiteFile, prompts: Sequence[Prompt]
) -> Iterator[Answer]:
    encoded = [_encoded(engine, header, prompt) for prompt in prompts]
    faults = [_fault(engine, *one) for one in encoded]
    pairs = [
        (question, option)
        for (question, options), fault in zip(encoded, faults, strict=True)
        if fault is None
        for option in options
    ]
    scored = iter(engine.score([q for q, _ in pairs], [o for _, o in pairs], cached=True))
    for prompt, (_, options), fault in zip(prompts, encoded, faults, strict=True):
        if fault is not None:
            yield _answer(suite, prompt, fault, None)
            continue
        sums = [sum(next(scored)) for _ in options]
        yield _answer(suite, prompt, None, _likeliest(header, prompt, sums))


def _encoded(
    engine: AnsweringEngine, header: SuiteFile, prompt: Prompt
) -> tuple[list[int], list[list[int]]]:
    """The tokens of the question, none where the chat template raises, and those of each option."""
    texts = prompt.metadata[OPTIONS].values()
    if header.chat:
        return encoded_chat(engine, prompt), [engine.encode_text(text) for text in texts]
    question = "\n\n".join(message["content"] for message in prompt.messages)
    return engine.encode_text(question), [engine.encode_text(f" {text}") for text in texts]


def _fault(engine: AnsweringEngine, question: list[int], options: list[list[int]]) -> str | None:
    if not question or not all(options):
        return NOT_ENCODED
    # An engine scores a sequence with one token of the context free.
    longest = len(question) + max(map(len, options)) + 1
    return TOO_LONG if longest > engine.max_model_len else None


def _likeliest(header: SuiteFile, prompt: Prompt, sums: Sequence[float]) -> str:
    """The first of the most likely options."""
    texts = list(prompt.metadata[OPTIONS].values())
    by = [len(text) if header.normalise == "characters" else 1 for text in texts]
    values = [total / count for total, count in zip(sums, by, strict=True)]
    return str(texts[values.index(max(values))])


def _answer(suite: str, prompt: Prompt, fault: str | None, chosen: str | None) -> Answer:
    correct = chosen is not None and chosen == prompt.answer
    return Answer(
        suite=suite,
        id=prompt.id,
        capability=prompt.capability,
        correct=correct,
        fault=fault,
        answer=chosen,
        reference=prompt.answer,
        text=chosen or "",
        tokens=0,
        finish=None if chosen is None else "stop",
        reward=float(correct),
        group=group_of(prompt),
    )
