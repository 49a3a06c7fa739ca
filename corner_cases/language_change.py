"""Detects that a model answers the same question differently in another language.

Compared are the verdicts of the verifier. Where all answers are wrong, the wrong numbers are
compared; wrong texts are not, as "Londres" may be the London of another language."""

from collections.abc import Mapping
from fractions import Fraction

from corner_cases.interface import Finding, GradedReply
from rewards.numbers import read_number

CASE = "language_change"


def detect_group(replies: Mapping[str, GradedReply]) -> Finding | None:
    """Whether the replies to one question differ, by language. Replies that could not be graded are
    left out; one alone differs from none."""
    graded = {name: reply for name, reply in sorted(replies.items()) if reply.right is not None}
    rights = [name for name, reply in graded.items() if reply.right]
    shown = "; ".join(f"{name}: {_shown(reply)}" for name, reply in graded.items())
    if 0 < len(rights) < len(graded):
        wrong = [name for name in graded if name not in rights]
        return Finding(CASE, f"wrong in some languages ({', '.join(wrong)})", shown)
    values = {_value(reply) for reply in graded.values()} - {None}
    if not rights and len(values) > 1:
        return Finding(CASE, f"wrong in different ways ({len(values)} values)", shown)
    return None


def _shown(reply: GradedReply) -> str:
    return reply.value or "no answer"


def _value(reply: GradedReply) -> Fraction | tuple[str, ...] | None:
    """The number that was read; None where it is none."""
    quantity = read_number(reply.value) if reply.value else None
    return None if quantity is None else quantity.value
