"""Question templates for judges, kept as text files in `judges/texts/`.

The files may be edited. Their content is part of the cache key, so after an edit every question is
asked again."""

from functools import cache
from pathlib import Path
from string import Template

from common.fingerprint import fingerprint
from judges.backend import Messages

FOLDER = Path(__file__).parent / "texts"


@cache
def template(name: str) -> str:
    """Content of the template `name`."""
    return (FOLDER / f"{name}.txt").read_text(encoding="utf-8")


def question(name: str, **parts: str) -> Messages:
    """A chat that asks the question `name`, with `parts` filled in.

    Each part is enclosed by fence lines that contain a hash over all parts. The author of a part
    cannot predict the hash, so no part can close its own quotation."""
    fence = f"==== {fingerprint([name, parts])[:16]} ===="
    return [
        {"role": "user", "content": Template(template(name)).substitute(parts, fence=fence).strip()}
    ]


def task(messages: Messages) -> str:
    """A prompt's chat as one text. A single message is given without its role."""
    if len(messages) == 1:
        return messages[0]["content"]
    return "\n".join(f"{message['role']}: {message['content']}" for message in messages)
