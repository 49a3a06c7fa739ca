"""Brings a mapped row into the form of a prompt: its conversation, its options, and the answer
inside the answer's field."""

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any, Protocol

from common.seeds import derive
from prompts.bad_rows import BadRow
from prompts.chatgpt import exported_turns, is_export
from prompts.conversations import conversation, shown

_BOX = "\\boxed{"


class Answers(Protocol):
    """The settings of a source that say where the answer is in its field, and what becomes of the
    options of a multiple-choice question."""

    @property
    def answer_after(self) -> str | None: ...

    @property
    def answer_boxed(self) -> bool: ...

    @property
    def fields(self) -> object: ...

    @property
    def list_choices(self) -> bool: ...

    @property
    def shuffle_choices(self) -> bool: ...


def shaped(where: str, row: Mapping[str, Any], source: Answers) -> dict[str, Any]:
    """The row with `prompt` or `messages`, and `answer`. Raises BadRow for a conversation with
    tools, for options that are no texts, and for an answer that is not where the source says."""
    shape = dict(row)
    _take_conversation(where, shape)
    if source.answer_after is not None:
        shape["answer"] = _after(where, shape.get("answer"), source.answer_after)
    elif source.answer_boxed:
        shape["answer"] = _boxed(where, shape.get("answer"))
    choices, labels = shape.pop("choices", ()), shape.pop("labels", ())
    if choices and source.fields is not None:
        texts = _texts(where, choices, "choices"), _texts(where, labels, "labels")
        _add_options(where, shape, *texts, source)
    return shape


def _take_conversation(where: str, row: dict[str, Any]) -> None:
    """Normalise the turns. Without an `answer`, the assistant's last turn is the answer."""
    given = row.pop("conversations", None)
    if is_export(row) and row.get("messages") is None:
        row["messages"] = exported_turns(where, row)
    if given is not None and row.get("messages") is None and row.get("prompt") is None:
        row["messages"] = conversation(where, given, "conversations")
    elif row.get("messages") is not None:
        row["messages"] = conversation(where, row["messages"])
    turns = row.get("messages")
    row["demonstrated"] = False
    if turns and row.get("answer") is None and turns[-1]["role"] == "assistant":
        row["messages"], row["answer"] = turns[:-1], turns[-1]["content"]
        row["demonstrated"] = True


def _after(where: str, answer: Any, mark: str) -> str:
    _, found, after = _text(answer).rpartition(mark)
    if not found:
        raise BadRow(
            where,
            f"has no {mark!r}",
            "correct `answer_after` in the source, or the row",
            field="answer",
            detail=f": {shown(answer)}",
        )
    return after.strip()


def _boxed(where: str, answer: Any) -> str:
    """What is in the last `\\boxed{...}`, with the braces inside it."""
    text = _text(answer)
    start, depth = text.rfind(_BOX) + len(_BOX), 1
    if start >= len(_BOX):
        for end in range(start, len(text)):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            if not depth:
                return text[start:end].strip()
    raise BadRow(
        where,
        "has no \\boxed{...}",
        "correct `answer_boxed` in the source, or the row",
        field="answer",
        detail=f": {shown(answer)}",
    )


def _text(answer: Any) -> str:
    """A text in which an answer may be; nothing is in a list or a number."""
    return answer if isinstance(answer, str) else ""


def _texts(where: str, values: Sequence[Any], field: str) -> list[str]:
    """The values, and those of the lists among them, as texts."""
    flat = [one for value in values for one in (value if isinstance(value, list) else [value])]
    if wrong := [one for one in flat if isinstance(one, bool) or not isinstance(one, str | int)]:
        raise BadRow(
            where,
            "must be texts",
            f"name a list of texts in `fields`, such as `{field}: choices.text`",
            field=field,
            detail=f", got {shown(wrong[0])}",
        )
    return [str(one).strip() for one in flat]


def _add_options(
    where: str, row: dict[str, Any], choices: list[str], labels: list[str], source: Answers
) -> None:
    if not 2 <= len(choices) <= len(ascii_uppercase) or (labels and len(labels) != len(choices)):
        raise BadRow(
            where,
            "must be 2 to 26 options, as many as labels",
            "correct `choices` and `labels` in `fields`, or the row",
            field="choices",
            detail=f", got {len(choices)} options and {len(labels)} labels",
        )
    places = list(range(len(choices)))
    if source.shuffle_choices:
        places.sort(key=lambda place: derive(0, "choices", str(row["prompt"]), choices[place]))
    letters = ascii_uppercase[: len(choices)]
    options = {letter: choices[place] for letter, place in zip(letters, places, strict=True)}
    # A question that is no text, and an answer that is missing, are refused with the row's other
    # fields, if they are needed.
    if source.list_choices and isinstance(row["prompt"], str):
        row["prompt"] += "".join(f"\n({letter}) {text}" for letter, text in options.items())
    if row.get("answer") is not None:
        chosen = _chosen(where, row["answer"], choices, labels)
        letter = letters[places.index(chosen)]
        row["answer"] = letter if source.list_choices else options[letter]
    row["metadata"] = {"options": options, **row.get("metadata", {})}


def _chosen(where: str, answer: Any, choices: list[str], labels: list[str]) -> int:
    """The number of the option that the row's answer names: by label, by text, or by index."""
    text = str(answer).strip()
    spelt = [number for number, choice in enumerate(choices) if choice == text]
    if labels:
        named = [labels.index(text)] if text in labels else spelt
    else:
        index = [int(text)] if text.isdecimal() and int(text) < len(choices) else []
        letters = list(ascii_uppercase[: len(choices)])
        letter = [letters.index(text)] if text in letters else []
        named = index if isinstance(answer, int) else [*letter, *spelt, *index]
    if len(set(named)) == 1:
        return named[0]
    raise BadRow(
        where,
        "names no option" if not named else "may name several options",
        "name in `fields` the `labels` that answers use; without them an answer is a letter, an"
        " option's text, or its index from 0",
        field="answer",
        detail=f": {shown(answer)} of {shown(choices)}",
    )
