"""The verifiers: each says how right a completion is (0 to 1) and what it read as the answer.

A wrong or unreadable answer is reward 0. An exception is not: it means that the verifier could not tell.
"""

import builtins
import json
import logging
import re
from collections.abc import Callable
from functools import cache
from typing import Any

from common.errors import BadInput
from prompts import reasoning_gym_source
from prompts.schema import Prompt
from rewards.answers import final_answer, last_number, normalise, read_answer, tidy

Verdict = tuple[float, str]
Verifier = Callable[[Prompt, str], Verdict]

_LETTER_FIRST = re.compile(r"[(\[]?([A-Za-z])[)\].:,]?(?:\s|$)")
_LETTER_MARKED = re.compile(r"\(([A-Z])\)|\b([A-Z])[).:](?=\s|$)")
_LETTER_ALONE = re.compile(r"\b([A-Z])\b")
_PARSED_AS_PYTHON = frozenset(
    {"simple_integration", "intermediate_integration", "polynomial_multiplication", "puzzle24", "countdown"}
)
_NOT_ALGEBRA = re.compile(r"__|[\"'\[\]{}\\;:@!?&|~`]|\.\s*[A-Za-z_]|\*\*\s*\(?\s*(?:\w+\s*\*\*|-?[0-9]{4})")


def exact(prompt: Prompt, completion: str) -> Verdict:
    """Right if the answer is the reference up to case, spacing, markdown and a closing full stop."""
    answer = read_answer(completion, prompt.answer)
    return float(normalise(answer) == normalise(prompt.answer)), answer


def number(prompt: Prompt, completion: str) -> Verdict:
    """Right if the final number equals the reference's: commas, currency, units and a full stop do not matter."""
    wanted = last_number(prompt.answer)
    if wanted is None:
        raise ValueError(f"the reference answer {prompt.answer!r} has no number")
    answer = read_answer(completion, f"{wanted:f}")
    return float(last_number(answer) == wanted), answer


def choice(prompt: Prompt, completion: str) -> Verdict:
    """Right if the answer names the reference's letter, A to Z."""
    wanted = prompt.answer.strip().strip("().").upper()
    if not re.fullmatch("[A-Z]", wanted):
        raise ValueError(f"the reference answer {prompt.answer!r} is not a letter A to Z")
    answer = final_answer(completion)
    return float(_letter(answer) == wanted), answer


def math(prompt: Prompt, completion: str) -> Verdict:
    """Right if the answer is mathematically equal to the reference (math_verify)."""
    answer = read_answer(completion, prompt.answer)
    if normalise(answer) == normalise(prompt.answer):
        return 1.0, answer
    from math_verify import parse, verify

    # It warns that its own limit is off; ours is around this call (see `rewards.grade`).
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    gold = parse(_as_latex(prompt.answer), parsing_timeout=None, raise_on_error=True)
    found = parse(_as_latex(answer), parsing_timeout=None, raise_on_error=True)
    if not gold:
        raise ValueError(f"the reference answer {prompt.answer!r} is not mathematics")
    return float(verify(gold, found, timeout_seconds=None, raise_on_error=True)), answer


def reasoning_gym(prompt: Prompt, completion: str) -> Verdict:
    """The family's own score, which may give partial credit: only 1 counts as correct. Unreadable answers get 0."""
    item = prompt.metadata
    answer = read_answer(completion, prompt.answer)
    if not answer or (item["family"] in _PARSED_AS_PYTHON and not _is_algebra(answer)):
        return 0.0, answer
    entry = {
        "question": item["question"],
        "answer": prompt.answer,
        "metadata": reasoning_gym_source.from_json(item["item"]),
    }
    scorer = _scorer(item["family"], json.dumps(item["settings"], sort_keys=True))
    try:
        return float(scorer.score_answer(answer, entry)), answer
    except ValueError:  # how some families say that the answer cannot be read, e.g. int("foo"); not a crash
        return 0.0, answer


VERIFIERS: dict[str, Verifier] = {
    "choice": choice,
    "exact": exact,
    "math": math,
    "number": number,
    "reasoning_gym": reasoning_gym,
}


def check_verifier(name: str) -> None:
    """Raise BadInput unless `name` is a verifier."""
    if name not in VERIFIERS:
        raise BadInput(f"no verifier is named {name!r}", f"the verifiers are: {', '.join(sorted(VERIFIERS))}")


def _letter(answer: str) -> str | None:
    first = _LETTER_FIRST.fullmatch(answer) or re.match(r"[(\[]?([A-Z])[)\].:,](?:\s|$)", answer)
    if first:
        return first[1].upper()
    marked = list(_LETTER_MARKED.finditer(answer))
    if marked:
        return marked[-1][1] or marked[-1][2]
    alone = _LETTER_ALONE.findall(answer)
    return alone[-1] if alone else None


def _as_latex(text: str) -> str:
    bare = tidy(text)
    return bare if "$" in bare or "\\boxed" in bare else f"${bare}$"


def _is_algebra(answer: str) -> bool:
    """Whether `answer` may go to a parser that runs Python: no strings, attributes, built-ins, towers of powers."""
    names = set(re.findall(r"[A-Za-z_]\w*", answer))
    return len(answer) <= 500 and not _NOT_ALGEBRA.search(answer) and not names & (set(dir(builtins)) - {"abs"})


@cache
def _scorer(family: str, settings: str) -> Any:
    """The dataset object of a family, whose `score_answer` may depend on the settings."""
    return reasoning_gym_source.create(family, json.loads(settings))
