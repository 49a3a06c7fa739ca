"""A user's own prompts: the rows of files in any format, or of a data set on the hub."""

from dataclasses import replace
from typing import Any

from common.errors import BadInput
from prompts.bad_rows import BadRow, BadRows
from prompts.config import RowSource
from prompts.parts import NOT_GRADED
from prompts.records import records, require_rows, where
from prompts.row import PromptRow, read_row
from prompts.schema import Prompt, content_id, with_system
from prompts.shape import shaped


def load(config: RowSource, bad_rows: BadRows | None = None) -> list[Prompt]:
    """The prompts of a source. Raises BadInput with file and line (or row) of the first problem;
    where the source skips bad rows, `bad_rows` gets them, and it is a problem if all are bad."""
    bad_rows = BadRows() if bad_rows is None else bad_rows
    prompts: list[Prompt] = []
    known: dict[str, Prompt] = {}
    for place, row in records(config, bad_rows):
        try:
            prompt = _read(config, place, row, known)
        except BadInput as error:
            bad_rows.meet(config, place, row, error)
        else:
            prompts.append(prompt)
    require_rows(config, len(prompts), bad_rows)
    return prompts


def _read(config: RowSource, place: str, raw: dict[str, Any], known: dict[str, Prompt]) -> Prompt:
    at = where(config, place)
    row = read_row(at, shaped(at, raw, config))
    prompt = _prompt(config, at, place, row)
    other = known.setdefault(prompt.id, prompt)
    if row.id is not None and other is not prompt:
        raise BadRow(
            at,
            f"id {row.id!r} is already used at {where(config, other.place)}",
            "give rows unique ids",
            reason="its id is already used",
        )
    if other.verifier != prompt.verifier:
        # The same task with another verifier is another prompt. The first one keeps its id.
        content = (prompt.messages, prompt.answer, prompt.verifier)
        prompt = replace(prompt, id=content_id(config.name, *content))
    return prompt


def _prompt(config: RowSource, at: str, place: str, row: PromptRow) -> Prompt:
    if row.verifier and config.rewards:
        raise BadRow(
            at,
            "names a verifier, and the source has `rewards`",
            "remove the row's verifier, or the source's `rewards`",
        )
    first = config.rewards[0].verifier if config.rewards else config.verifier
    shown = NOT_GRADED if row.demonstrated else None
    verifier = row.verifier or first or shown
    capability = row.capability or config.capability
    for field, value in (("verifier", verifier), ("capability", capability)):
        if not value:
            raise BadRow(
                at,
                f"names no {field}, and neither does the source",
                f"give the source a `{field}`",
            )
    answer = str(row.answer)
    messages = with_system(with_system(row.chat(), row.system), config.system)
    if verifier == NOT_GRADED and _first_role(messages) != "user":
        raise BadRow(
            at,
            "a demonstration begins with the assistant's turn",
            "begin it with the user's, after a system message if there is one",
            field="messages",
        )
    name = config.name
    return Prompt(
        id=f"{name}:{row.id}" if row.id is not None else content_id(name, messages, answer),
        messages=messages,
        answer=answer,
        verifier=verifier or "",
        capability=capability or "",
        source=name,
        solution=row.solution,
        metadata=row.metadata or {},
        place=place,
        rewards=config.stored_rewards(),
    )


def _first_role(messages: list[dict[str, str]]) -> str:
    return next(message["role"] for message in messages if message["role"] != "system")
