"""Which label a free reply gives, and how likely the others were."""

import re
from collections.abc import Sequence

from judges.backend import Question
from judges.engine import weights_of
from judges.response import IMPOSSIBLE, Token

_AROUND = " \n\t*().,:;!-#\"'▁Ġ"
"""What may stand around a label."""
_ECHO = re.compile(r"\W*\w+(, \w+)* or \w+\)")
"""The question's own list of labels, repeated."""


def written(text: str, question: Question) -> str | None:
    """The label that a reply gives: right after the lead, or, where the lead was not written, as
    its first word."""
    start = _start(text, question)
    word = next((word for word in text[start:].split() if word.strip(_AROUND)), "")
    return None if _ECHO.match(text[start:]) else _label(word, question.labels)


def has_likelihoods(tokens: Sequence[Token]) -> bool:
    """Whether the tokens tell anything of the labels that were not written."""
    return any(token.top for token in tokens)


def likely(text: str, tokens: Sequence[Token], question: Question) -> dict[str, float] | None:
    """The labels' probabilities where one is written; None if none is.

    Raises ValueError if the tokens are not those of the text.
    """
    start, labels = _start(text, question), question.labels
    if _ECHO.match(text[start:]):
        return None
    end = -_offset(text, tokens, start)
    for token in tokens:
        end += len(token.text)
        if end <= start or not token.text.strip(_AROUND):
            continue
        if _label(token.text, labels) is None:
            return None
        found: dict[str, float] = {}
        for one in (token, *token.top):
            label = _label(one.text, labels)
            if label is not None:
                found[label] = max(found.get(label, IMPOSSIBLE), one.logprob)
        return weights_of({label: found.get(label, IMPOSSIBLE) for label in labels})
    return None


def _offset(text: str, tokens: Sequence[Token], start: int) -> int:
    """Where in the tokens the text begins: reasoning that is no part of it may come first."""
    whole = "".join(token.text for token in tokens)
    place = whole.rfind(text)
    if place < 0 and whole[:start] != text[:start]:
        raise ValueError("tokens of another text")
    # A letter of several tokens reads differently in them; up to the label they are the text's all
    # the same.
    return max(place, 0)


def _start(text: str, question: Question) -> int:
    """Where the label is due."""
    place = text.lower().find(question.lead.lower())
    return 0 if place < 0 else place + len(question.lead)


def _label(token: str, labels: Sequence[str]) -> str | None:
    """The label that a token is: an `a` is no A, but a `Yes` is a yes."""
    bare = token.strip(_AROUND)
    return next(
        (label for label in labels if bare == label or (label.islower() and bare.lower() == label)),
        None,
    )
