"""The whole model card. It depends on the run alone: the same checkpoint gives the same bytes.

The last line holds the SHA-256 of all others, so that `export --force` can tell a card of its own
from one that a person has written or changed, and replaces no other."""

import hashlib
import re
from pathlib import Path

from common.errors import BadInput
from common.markdown import code
from pipeline.cli.card import measured, sections
from pipeline.cli.card.facts import Facts, facts_of
from pipeline.cli.card.metadata import metadata
from pipeline.execution.run_folder import Checkpoint

CARD = "README.md"
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}")
_SEAL = re.compile(rb"<!-- written by uphill export, sha256 ([0-9a-f]{64}) -->\n\Z")


def card_text(checkpoint: Checkpoint, licence: str | None = None) -> str:
    """The card of a checkpoint, metadata first. Raises as `facts_of`, and BadInput for
    a licence that is no id."""
    if licence is not None and not _LICENCE.fullmatch(licence):
        raise BadInput(
            f"--licence: {licence!r} is no licence id of the Hugging Face hub",
            "give one such as apache-2.0 or other, or leave it out: it is then unknown",
        )
    facts = facts_of(checkpoint, licence)
    head = metadata(facts).to_yaml(line_break="\n")
    text = f"---\n{head}\n---\n\n{_body(facts)}\n"
    seal = hashlib.sha256(text.encode()).hexdigest()
    return f"{text}<!-- written by uphill export, sha256 {seal} -->\n"


def is_own_card(path: Path) -> bool:
    """Whether the file is a card as `card_text` wrote it."""
    data = path.read_bytes()
    found = _SEAL.search(data)
    return found is not None and hashlib.sha256(data[: found.start()]).hexdigest() == (
        found[1].decode()
    )


def _body(facts: Facts) -> str:
    """The text below the metadata."""
    parts = {
        "What it is": sections.about(facts),
        "Use": sections.USE,
        "How it was trained": sections.training(facts),
        "Scores": measured.scores(facts),
        "Corner cases": measured.corner_cases(facts),
        "How it was measured": measured.protocol(facts),
        "Limits": measured.limits(facts),
        "Licence": measured.licence(facts),
        "Provenance": sections.provenance(facts),
    }
    title = f"# {code(facts.name)}\n\nA language model, post-trained with uphill. This page was"
    return "\n\n".join(
        [
            f"{title} written from the records of the run.",
            *(f"## {heading}\n\n{text}" for heading, text in parts.items()),
        ]
    )
