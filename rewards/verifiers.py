"""The verifiers: each gives a completion a reward (0 to 1) and the answer that it read.

A wrong or unreadable answer has reward 0. An exception means that the verifier could not grade."""

import builtins
import json
import re
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from typing import Any

from prompts import reasoning_gym_source
from prompts.schema import Prompt
from rewards.answers import read_answer
from rewards.choices import letter_of, options_of, read_choice
from rewards.exact import normalise
from rewards.expressions import words
from rewards.interface import BadReference
from rewards.mathematics import is_mathematics, same
from rewards.numbers import plain, read_number, read_reference
from rewards.structures import structure_of

VerifierResult = tuple[float, str]
Verifier = Callable[[Prompt, str], VerifierResult]


_PARSED_AS_PYTHON = frozenset(
    {
        "simple_integration",
        "intermediate_integration",
        "polynomial_multiplication",
        "puzzle24",
        "countdown",
    }
)
_NOT_ALGEBRA = re.compile(
    r"__|[\"'\[\]{}\\;:@!?&|~`]|\.\s*[A-Za-z_]|\*\*\s*\(?\s*(?:\w+\s*\*\*|-?[0-9]{4})"
)


def exact(prompt: Prompt, completion: str) -> VerifierResult:
    """Right if the answer is the reference's text up to case, spacing, markdown and typography."""
    answer = read_answer(completion, prompt.answer)
    return float(normalise(answer) == normalise(prompt.answer)), answer


def number(prompt: Prompt, completion: str) -> VerifierResult:
    """Right if the answer is one number, in any notation, that equals the reference's."""
    wanted = read_reference(prompt.answer)
    if wanted is None:
        raise BadReference(
            "is not one number",
            "write one number, such as 12, 1/2 or 12 m^2, or take the verifier `math` or `exact`",
        )
    answer = read_answer(completion, prompt.answer)
    given = read_number(answer)
    right = answer == prompt.answer or (given is not None and wanted.equals(given))
    return float(right), answer


def choice(prompt: Prompt, completion: str) -> VerifierResult:
    """Right if the answer names the reference's letter, A to Z, or states its option."""
    options = options_of(prompt)
    wanted = letter_of(prompt.answer, options)
    if wanted is None:
        raise BadReference(
            "is neither a letter A to Z nor the text of one option in the question",
            "write the option's letter",
        )
    letter, answer = read_choice(completion, options)
    return float(letter == wanted), answer


def math(prompt: Prompt, completion: str) -> VerifierResult:
    """Right if the answer is mathematically equal to the reference, exactly."""
    wanted = structure_of(prompt.answer)
    if not is_mathematics(wanted):
        raise BadReference(
            "cannot be read as mathematics", "correct its LaTeX, or take the verifier `exact`"
        )
    answer = read_answer(completion, prompt.answer)
    if answer == prompt.answer or same(wanted, structure_of(answer)):
        return 1.0, answer
    # A sentence around a number, "so there are 12 apples left", is not an expression.
    value, given = read_number(prompt.answer, algebra=True), read_number(answer)
    return float(bool(value and given and words(answer) and value.equals(given))), answer


def reasoning_gym(prompt: Prompt, completion: str) -> VerifierResult:
    """The family's own score, which may give partial credit; only 1 counts as correct. Unreadable
    answers get 0."""
    item = prompt.metadata
    answer = read_answer(completion, prompt.answer)
    wanted, given = _bare_number(prompt.answer), read_number(answer)
    if wanted is not None and given is not None and isinstance(given.value, Fraction):
        answer = prompt.answer if given.value == wanted else plain(given.value)
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
    except ValueError:  # some families raise it for an unreadable answer, e.g. int("foo")
        return 0.0, answer


VERIFIERS: dict[str, Verifier] = {
    "choice": choice,
    "exact": exact,
    "math": math,
    "number": number,
    "reasoning_gym": reasoning_gym,
}


def _bare_number(reference: str) -> Fraction | None:
    """The value of a reference that consists of digits only."""
    return (
        Fraction(reference) if re.fullmatch(r"-?[0-9]+(?:\.[0-9]+)?", reference.strip()) else None
    )


def _is_algebra(answer: str) -> bool:
    """Whether `answer` is safe for a parser that runs Python: no strings, attributes, built-ins or
    towers of powers."""
    names = set(re.findall(r"[A-Za-z_]\w*", answer))
    return (
        len(answer) <= 500
        and not _NOT_ALGEBRA.search(answer)
        and not names & (set(dir(builtins)) - {"abs"})
    )


@cache
def _scorer(family: str, settings: str) -> Any:
    """The dataset object of a family, whose `score_answer` may depend on the settings."""
    return reasoning_gym_source.create(family, json.loads(settings))
