"""Answers to the suite `corner_cases` from an engine that answers from a script."""

from builders.evaluations import ScriptedAnswers, suite
from corner_cases.registry import CASES
from evals.protocol import ask
from rewards.grader import Grader

ROOM = 4000
LOOP = "Let me see. " * 20
NO = "I'm sorry, but I cannot help with that."


def of_case(case, count=None):
    """The first prompts of a case."""
    return CASES[case].prompts()[:count]


def question(group="sum-01"):
    """A question in its eight languages; `sum-01` is 3 plus 4."""
    return [p for p in CASES["language_change"].prompts() if p.metadata["group"] == group]


def asked(prompts, replies, max_tokens=1000, room=ROOM, **fields):
    """The answers of a policy that says to each prompt what `replies` has for its id, or else the
    right answer. A token a character."""
    texts = {p.task: replies.get(p.id, p.answer or "Yes.") for p in prompts}
    engine = ScriptedAnswers(texts, room)
    config = suite("corner_cases", max_tokens=max_tokens, **fields)
    return ask(engine, config, prompts, 3, lambda count: None, Grader())
