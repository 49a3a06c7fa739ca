"""A user's own prompts: the rows of files in any format, or of a data set on the hub."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, get_args

from common.errors import BadInput
from prompts.bad_rows import BadRow, BadRows
from prompts.config import RowSource
from prompts.parts import NOT_GRADED, PlainPart
from prompts.records import records, require_rows, where
from prompts.row import PromptRow, read_row
from prompts.schema import Prompt, content_id, with_system
from prompts.shape import shaped

COMPARING: frozenset[str] = frozenset(get_args(PlainPart.model_fields["verifier"].annotation))
"""The verifiers that compare an answer with the reference answer."""
_NONE: dict[str, Any] = {}
"""The metadata of all prompts without: a million empty objects take 80 MB. Nothing writes to it."""


def load(config: RowSource, bad_rows: BadRows | None = None) -> list[Prompt]:
    """The prompts of a source. Raises BadInput with file and line (or row) of the first problem;
    where the source skips bad rows, `bad_rows` gets them, and it is a problem if all are bad."""
    bad_rows = BadRows() if bad_rows is None else bad_rows
    prompts = list(read(config, bad_rows))
    require_rows(config, len(prompts), bad_rows)
    return prompts


def read(config: RowSource, bad_rows: BadRows) -> Iterator[Prompt]:
    """The prompts of a source one by one, as `load` has them."""
    known: dict[str, Prompt] = {}
    rewards = config.stored_rewards()  # one for all prompts
    for place, row in records(config, bad_rows):
        try:
            prompt = _read(config, rewards, place, row, known)
        except BadInput as error:
            bad_rows.meet(config, place, row, error)
        else:
            yield prompt


def _read(
    config: RowSource,
    rewards: tuple[dict[str, Any], ...],
    place: str,
    raw: dict[str, Any],
    known: dict[str, Prompt],
) -> Prompt:
    at = where(config, place)
    shape = shaped(at, raw, config)
    row = read_row(at, shape, answered=_compared(config, shape.get("verifier")))
    prompt = _prompt(config, rewards, at, place, row)
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


def _compared(config: RowSource, named: Any) -> bool:
    """Whether a verifier compares answers with the reference answer. Others read their tests,
    rubric or constraints in the metadata."""
    blank = isinstance(named, str) and not named.strip()
    own = config.verifier if named is None or blank else named
    names: list[Any] = [part.verifier for part in config.rewards] or [own]
    return any(str(name) in COMPARING for name in names)


def _prompt(
    config: RowSource, rewards: tuple[dict[str, Any], ...], at: str, place: str, row: PromptRow
) -> Prompt:
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
    if verifier == NOT_GRADED:
        _check_demonstration(at, messages, row.solution or answer)
    name = config.name
    return Prompt(
        id=f"{name}:{row.id}" if row.id is not None else content_id(name, messages, answer),
        messages=messages,
        answer=answer,
        verifier=verifier or "",
        capability=capability or "",
        source=name,
        solution=row.solution,
        metadata=row.metadata or _NONE,
        place=place,
        rewards=rewards,
    )


def _check_demonstration(at: str, messages: list[dict[str, str]], answer: str) -> None:
    first = next(message["role"] for message in messages if message["role"] != "system")
    if first != "user":
        raise BadRow(
            at,
            "a demonstration begins with the assistant's turn",
            "begin it with the user's, after a system message if there is one",
            field="messages",
        )
    if not answer.strip():
        raise BadRow(
            at,
            "a demonstration has no answer to learn",
            "end its messages with the assistant's turn, or name a verifier",
        )
