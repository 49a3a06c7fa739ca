"""Separates a completion's thinking from its answer. Only the answer is graded.

The marks are those that models' chat templates use. A template may write the opening mark into the
prompt; then a completion has only the closing one, and all text before it is thinking."""

import re

_TAGS = "think", "thinking", "thought", "reasoning", "reflection", "seed:think"
_MARKS = (
    *((f"<{tag}>", f"</{tag}>") for tag in _TAGS),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),
)
MARKS = tuple(mark for pair in _MARKS for mark in pair)
_OPENING = {opening.lower() for opening, _ in _MARKS}
_MARK = re.compile("|".join(map(re.escape, MARKS)), re.IGNORECASE)


def answer_part(text: str) -> str | None:
    """`text` without its thinking; None if the thinking is not closed, as in a completion that was
    cut off."""
    kept, depth, start = "", 0, 0
    for mark in _MARK.finditer(text):
        if depth == 0:
            kept += text[start : mark.start()]
        if mark.group().lower() in _OPENING:
            depth += 1
        elif depth:
            depth -= 1
        else:
            kept = ""  # the template opened the thinking
        start = mark.end()
    return None if depth else kept + text[start:]


def has_thinking_mark(text: str) -> bool:
    """Whether `text` names a mark of thinking, such as `<think>`."""
    return _MARK.search(text) is not None


def opened_by(rendered: str) -> str:
    """The opening mark that a rendered prompt ends with, so that the completion begins with
    thinking; empty if none."""
    tail = rendered.rstrip().lower()
    return next((opening for opening, _ in _MARKS if tail.endswith(opening.lower())), "")
