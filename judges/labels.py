"""Read the label from a free-form reply, and the probabilities of the other labels."""

import re
from collections.abc import Sequence

from judges.backend import Question
from judges.engine import weights_of
from judges.response import MIN_LOGPROB, Token

_AROUND = " \n\t*().,:;!-#\"'▁Ġ"
"""Characters that may surround a label."""
_ECHO = re.compile(r"\W*\w+(, \w+)* or \w+\)")
"""A repetition of the question's own list of labels."""


def written_label(text: str, question: Question) -> str | None:
    """The label in a reply: the word after the lead, or the first word if there is no lead."""
    start = _label_start(text, question)
    word = next((word for word in text[start:].split() if word.strip(_AROUND)), "")
    return None if _ECHO.match(text[start:]) else _label(word, question.labels)


def has_alternatives(tokens: Sequence[Token]) -> bool:
    """Whether the tokens carry log-probabilities of alternatives to what was written."""
    return any(token.top for token in tokens)


def label_probabilities(
    text: str, tokens: Sequence[Token], question: Question
) -> dict[str, float] | None:
    """Probability of each label, where a label is written; None if none is.

    Raises ValueError if the tokens do not belong to the text.
    """
    start, labels = _label_start(text, question), question.labels
    if _ECHO.match(text[start:]):
        return None
    end = -_text_offset(text, tokens, start)
    for token in tokens:
        end += len(token.text)
        if end <= start or not token.text.strip(_AROUND):
            continue
        if _label(token.text, labels) is None:
            return None
        logprobs: dict[str, float] = {}
        for candidate in (token, *token.top):
            label = _label(candidate.text, labels)
            if label is not None:
                logprobs[label] = max(logprobs.get(label, MIN_LOGPROB), candidate.logprob)
        return weights_of({label: logprobs.get(label, MIN_LOGPROB) for label in labels})
    return None


def _text_offset(text: str, tokens: Sequence[Token], start: int) -> int:
    """Where in the tokens the text begins: reasoning that is not part of the text may come
    first."""
    whole = "".join(token.text for token in tokens)
    place = whole.rfind(text)
    if place < 0 and whole[:start] != text[:start]:
        raise ValueError("tokens of another text")
    # A character that spans several tokens looks different in them. Up to the label the tokens
    # still match the text.
    return max(place, 0)


def _label_start(text: str, question: Question) -> int:
    """Where the label is expected: after the lead, or at the start."""
    place = text.lower().find(question.lead.lower())
    return 0 if place < 0 else place + len(question.lead)


def _label(token: str, labels: Sequence[str]) -> str | None:
    """The label that a token stands for. Case matters for upper-case labels: `a` is not A, but
    `Yes` is yes."""
    bare = token.strip(_AROUND)
    return next(
        (label for label in labels if bare == label or (label.islower() and bare.lower() == label)),
        None,
    )
