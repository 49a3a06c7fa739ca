"""One row of a user's own prompts: what it may contain, and messages that say what is wrong.

A blank text counts as absent: a row whose `solution` is `""` has no worked solution.
"""

from typing import Any, NoReturn

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from prompts.bad_rows import BadRow, require_storable
from prompts.conversations import shown

ALLOWED = {
    "id": ("a text or a whole number", '"id": "q-17"'),
    "messages": (
        "a list of messages",
        '"messages": [{"role": "user", "content": "What is 2 + 3?"}]',
    ),
    "prompt": ("a text", '"prompt": "What is 2 + 3?"'),
    "answer": ("a text or a whole number", '"answer": "5"'),
    "verifier": ("the name of a verifier", '"verifier": "number"'),
    "capability": ("a text", '"capability": "arithmetic"'),
    "solution": ("a text", '"solution": "2 and 3 more make 5"'),
    "system": ("a text", '"system": "Answer with one number."'),
    "metadata": ("an object of names and values", '"metadata": {"difficulty": 2}'),
}
"""What each field may contain, and an example."""
_ROW_REMEDY = "a row has `prompt` (text) or `messages` (role, content), and `answer`"


class PromptRow(BaseModel):
    """The fields of a row that are read; others are ignored."""

    model_config = ConfigDict(strict=True)
    id: str | int | None = None
    messages: list[dict[str, str]] | None = None
    prompt: str | None = None
    answer: str | int = ""
    verifier: str | None = None
    capability: str | None = None
    solution: str | None = None
    system: str | None = None
    metadata: dict[str, Any] | None = None
    demonstrated: bool = False
    """Whether the answer was the last turn of the row's conversation (`prompts/shape.py`)."""

    @field_validator("id", "verifier", "capability", "solution", "system")
    @classmethod
    def _blank_is_absent(cls, value: Any) -> Any:
        return None if isinstance(value, str) and not value.strip() else value

    @model_validator(mode="after")
    def _check_prompt(self) -> "PromptRow":
        if (self.messages is None) == (self.prompt is None):
            raise ValueError(
                "needs exactly one of prompt, messages; got"
                f" {'none' if self.prompt is None else 'both'}"
            )
        chat = self.chat()
        if not chat or not chat[-1]["content"].strip():
            raise ValueError("the prompt is empty")
        if chat[-1]["role"] != "user":
            raise ValueError(f"messages must end with the user's, got role {chat[-1]['role']!r}")
        blank = [message["role"] for message in chat if not message["content"].strip()]
        if blank:
            raise ValueError(
                f"messages hold a blank message of the {blank[0]}: remove it, or give its text"
            )
        return self

    def chat(self) -> list[dict[str, str]]:
        if self.messages is None:
            return [{"role": "user", "content": self.prompt or ""}]
        return self.messages


def read_row(where: str, raw: Any, *, answered: bool = True) -> PromptRow:
    """Validate `raw`, the row at `where`; `answered` says whether it needs an answer. Raises BadRow
    with the problem, what is allowed, and an example."""
    if raw.get("answer") is None and not answered:
        raw = {**raw, "answer": ""}
    if "answer" not in raw:
        remedy = f"{_ROW_REMEDY}, such as {ALLOWED['answer'][1]}"
        raise BadRow(where, "is required", remedy, field="answer")
    try:
        row = PromptRow.model_validate(raw)
    except ValidationError as error:
        _refuse(where, error)
    if answered and not str(row.answer).strip():
        raise BadRow(where, "answer is empty", _ROW_REMEDY)
    require_storable(where, row.model_dump())
    return row


def _refuse(where: str, error: ValidationError) -> NoReturn:
    first = error.errors()[0]
    field = next((str(part) for part in first["loc"] if part in ALLOWED), "")
    if first["type"] == "value_error":
        reason = first["msg"].removeprefix("Value error, ")
        raise BadRow(where, reason, _ROW_REMEDY) from error
    allowed, example = ALLOWED[field]
    value = first["input"]
    remedy, detail = _remedy(field, value, example), f", got {shown(value)}"
    raise BadRow(where, f"must be {allowed}", remedy, field=field, detail=detail) from error


def _remedy(field: str, value: Any, example: str) -> str:
    """How to write this value of an `answer`; for other fields the example."""
    if field != "answer":
        return f"write it as {example}"
    if isinstance(value, float):
        why = "3.50 and 3.5 are the same number, so only a text says which is meant"
        how = (
            'in parquet as a column of texts, or with the template `answer: "{answer}"` in `fields`'
        )
        return f'write it in quotes: "{value}" ({how}); {why}'
    if isinstance(value, bool):
        return f'write it in quotes: "{shown(value)}"'
    if value is None:
        return 'give the answer; if it is the word null, write it in quotes: "null"'
    return f"write it as one text in quotes, in the form of the model's answer, such as {example}"
