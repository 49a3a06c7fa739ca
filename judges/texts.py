"""The questions that judges are asked: text files in `judges/texts/`, free to edit; a change asks
everything anew."""

from functools import cache
from pathlib import Path
from string import Template

from common.fingerprint import fingerprint
from judges.backend import Messages

FOLDER = Path(__file__).parent / "texts"


@cache
def template(name: str) -> str:
    """The text file's content."""
    return (FOLDER / f"{name}.txt").read_text(encoding="utf-8")


def question(name: str, **parts: str) -> Messages:
    """A chat that asks the text `name` with its parts put in.

    The parts stand between lines that nobody can know before all parts are written (a hash over
    them), so none can end its own quotation."""
    fence = f"==== {fingerprint([name, parts])[:16]} ===="
    return [
        {"role": "user", "content": Template(template(name)).substitute(parts, fence=fence).strip()}
    ]


def task(messages: Messages) -> str:
    """A prompt's chat as one text: the user's words alone where there is nothing else."""
    if len(messages) == 1:
        return messages[0]["content"]
    return "\n".join(f"{message['role']}: {message['content']}" for message in messages)
