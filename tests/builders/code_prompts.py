"""Prompts for the verifier `code`."""

from typing import Any

from prompts.parts import CodePart
from prompts.schema import Prompt
from rewards.code.verifier import Code
from rewards.interface import Answer, Resources, Result


def code_prompt(tests: Any, answer: str = "") -> Prompt:
    """A prompt with these tests."""
    return Prompt(
        id="given",
        messages=[{"role": "user", "content": "Write a program."}],
        answer=answer,
        verifier="code",
        capability="code",
        source="given",
        solution=None,
        metadata={} if tests is None else {"tests": tests},
    )


def code_grades(tests: Any, *answers: str, **settings: Any) -> list[Result]:
    """The grades of answers to a prompt with these tests."""
    part = CodePart(verifier="code", **settings)
    verifier = Code().open(part, Resources(threads=2))
    try:
        return verifier.grade(code_prompt(tests), [Answer(text) for text in answers])
    finally:
        verifier.close()


def noted(tests: Any, *answers: str) -> list[str]:
    """What the user is told once the answers are graded."""
    notes = list[str]()
    verifier = Code().open(CodePart(verifier="code"), Resources(note=notes.append))
    verifier.grade(code_prompt(tests), [Answer(text) for text in answers])
    verifier.close()
    return notes


def outcomes(results: list[Result]) -> list[str]:
    """The outcome of each, as it is counted."""
    counted = []
    for result in results:
        assert result.fault is None, result.fault
        counted += [name for name, rate in result.checks.items() if name != "tests" and rate]
    return counted
