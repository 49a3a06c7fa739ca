"""A person's preference pairs: two answers to one prompt, of which one is preferred.

A row has `chosen` and `rejected`. With a `prompt` (a text or a conversation) they are two answers,
or two conversations that begin with it. Without one they are two conversations, as message lists or
as transcripts (`Human:` and `Assistant:` turns), and the prompt is what both begin with."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from common.errors import BadInput
from prompts.bad_rows import BadRow, BadRows, require_storable
from prompts.conversations import conversation, shown
from prompts.pair_config import PairFile
from prompts.parts import NOT_GRADED
from prompts.records import records, require_rows, where
from prompts.schema import Prompt, content_id, with_system

Turns = list[dict[str, str]]
_TURN = re.compile(r"(?:\A|\n\n)(Human|Assistant):")
_ROLES = {"Human": "user", "Assistant": "assistant"}
_ROW = '{"prompt": "Name a gas.", "chosen": "Oxygen.", "rejected": "Wood."}'
_CHATS = '"chosen": [{"role": "user", "content": "Name a gas."}, {"role": "assistant", ...}]'


@dataclass(frozen=True, slots=True)
class Preference:
    """A row: a chat that ends with the user's turn, and the two answers."""

    id: str
    messages: Turns
    chosen: str
    rejected: str
    source: str
    place: str

    @property
    def content(self) -> str:
        """Equal for equal pairs, whatever file they are in."""
        return content_id("", self.messages, self.chosen, self.rejected)

    @property
    def learnt(self) -> Prompt:
        """Its prompt with the chosen answer, as a demonstration."""
        return Prompt(
            *(self.id, self.messages, self.chosen, NOT_GRADED, "pairs", self.source, None, {}),
            place=self.place,
        )

    def chats(self) -> tuple[Turns, Turns]:
        """The two conversations."""
        answers = [{"role": "assistant", "content": text} for text in (self.chosen, self.rejected)]
        return [*self.messages, answers[0]], [*self.messages, answers[1]]


def load_pairs(source: PairFile, bad_rows: BadRows | None = None) -> list[Preference]:
    """The pairs of a file, repeats included. Raises BadInput with file and row of the first
    problem; where the source skips bad rows, `bad_rows` gets them."""
    bad_rows = BadRows() if bad_rows is None else bad_rows
    pairs = []
    for place, row in records(source, bad_rows):
        try:
            pairs.append(_preference(source, place, row))
        except BadInput as error:
            bad_rows.meet(source, place, row, error)
    require_rows(source, len(pairs), bad_rows)
    return pairs


def _preference(source: PairFile, place: str, row: Mapping[str, Any]) -> Preference:
    at = where(source, place)
    given = row.get("prompt")
    if given is None:
        messages, chosen, rejected = _implicit(at, row)
    else:
        messages = _prompt(at, given)
        (chosen, *one), (rejected, *other) = (
            _answer(at, row, name, messages) for name in ("chosen", "rejected")
        )
        messages = _of_conversations(at, messages, [*one, *other])
    _check(at, messages, chosen, rejected)
    require_storable(at, [messages, chosen, rejected])
    messages = with_system(messages, _system(at, row.get("system")))
    id = content_id(source.name, messages, chosen, rejected)
    return Preference(id, messages, chosen, rejected, source.name, place)


def _check(at: str, messages: Turns, chosen: str, rejected: str) -> None:
    for name, text in (("chosen", chosen), ("rejected", rejected)):
        if not text.strip():
            remedy = "remove the row, or give the answer"
            raise BadRow(at, "is empty", remedy, field=name, detail=f", got {shown(text)}")
    if chosen.strip() == rejected.strip():
        problem, remedy = "chosen and rejected are the same answer", "remove the row"
        raise BadRow(at, problem, remedy, detail=f": {shown(chosen)}")
    blank = next((one["role"] for one in messages if not one["content"].strip()), None)
    if blank is not None:
        problem, remedy = f"the {blank}'s message is empty", "remove it, or give its text"
        raise BadRow(at, problem, remedy, field="prompt")
    if not messages or messages[-1]["role"] != "user":
        last = messages[-1]["role"] if messages else "nothing"
        problem, remedy = "must end with the user's turn", f"write a row as {_ROW}"
        raise BadRow(at, problem, remedy, field="prompt", detail=f", ends with {last}")


def _prompt(at: str, given: Any) -> Turns:
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    return conversation(at, given, "prompt")


def _system(at: str, given: Any) -> str | None:
    if given is None or (isinstance(given, str) and not given.strip()):
        return None
    if not isinstance(given, str):
        remedy, detail = 'write it as "system": "Be brief."', f", got {shown(given)}"
        raise BadRow(at, "must be a text", remedy, field="system", detail=detail)
    return given


def _answer(at: str, row: Mapping[str, Any], name: str, prompt: Turns) -> list[str]:
    """The answer of a row with a prompt: a text, the assistant's turn, or the conversation that
    begins with the prompt; and the system message of that conversation, if it has one."""
    value = _given(at, row, name)
    if isinstance(value, str):
        return [value]
    turns = _chat(at, value, name)
    systems = [turn["content"] for turn in turns[:1] if turn["role"] == "system"]
    spoken, asked = (
        [turn for turn in part if turn["role"] != "system"] for part in (turns, prompt)
    )
    rest = spoken[len(asked) :] if spoken[: len(asked)] == asked else spoken
    if len(rest) == 1 and rest[0]["role"] == "assistant":
        return [rest[0]["content"], *systems]
    if len(rest) > 1 and rest is spoken:
        raise BadRow(
            at,
            "begins with another prompt than `prompt`",
            "correct the row, or leave `prompt` out if both are whole conversations",
            field=name,
            detail=f": {shown(spoken[0]['content'])}",
        )
    raise _no_answer(at, name, rest)


def _implicit(at: str, row: Mapping[str, Any]) -> tuple[Turns, str, str]:
    """The turns that two conversations begin with, and the two answers after them."""
    one, other = (_chat(at, _given(at, row, name), name) for name in ("chosen", "rejected"))
    same = 0
    while same < min(len(one), len(other)) and one[same] == other[same]:
        same += 1
    if same == len(one) == len(other):
        same = len(one) - 1  # equal conversations, which are refused as equal answers
    for name, turns in (("chosen", one), ("rejected", other)):
        rest = turns[same:]
        if rest and rest[0]["role"] != "assistant":
            raise BadRow(
                at,
                "the two conversations answer different prompts",
                f"begin both with the same turns, or write a row as {_ROW}",
                field=name,
                detail=f": turn {same + 1} is {shown(one[same]['content'])} and"
                f" {shown(other[same]['content'])}"
                if same < min(len(one), len(other))
                else f": turn {same + 1} is in one of them only",
            )
        if len(rest) != 1:
            raise _no_answer(at, name, rest)
    return one[:same], one[same]["content"], other[same]["content"]


def _of_conversations(at: str, messages: Turns, systems: list[str]) -> Turns:
    """The prompt, with the system message of the conversations that begin with it."""
    if not messages or messages[0]["role"] == "system" or not systems:
        return messages
    if len(set(systems)) > 1:
        raise BadRow(
            at,
            "the two conversations have different system messages",
            "give both the same one",
            field="rejected",
            detail=f": {shown(systems[0])} and {shown(systems[1])}",
        )
    return with_system(messages, systems[0])


def _no_answer(at: str, name: str, rest: Turns) -> BadRow:
    said = " and ".join(turn["role"] for turn in rest[:3]) or "nothing"
    return BadRow(
        at,
        "must end with one turn of the assistant after what both begin with",
        "cut both conversations after the first answer that differs",
        field=name,
        detail=f", has {said}",
    )


def _given(at: str, row: Mapping[str, Any], name: str) -> Any:
    if row.get(name) is None:
        has = f"the row has {', '.join(map(str, row))}"
        remedy = f"write a row as {_ROW}, or name the field in `fields`: {has}"
        raise BadRow(at, "is required", remedy, field=name)
    return row[name]


def _chat(at: str, value: Any, name: str) -> Turns:
    """A conversation: a list of turns, one turn, or a transcript."""
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, str):
        return conversation(at, value, name)
    pieces = _TURN.split(value)
    if len(pieces) < 3 or pieces[0].strip():
        raise BadRow(
            at,
            "is a text without turns, and the row has no prompt",
            f"write a row as {_ROW}, or conversations: {_CHATS}",
            field=name,
            detail=f": {shown(value)}",
        )
    said = zip(pieces[1::2], pieces[2::2], strict=True)
    return [{"role": _ROLES[who], "content": text.strip()} for who, text in said]
