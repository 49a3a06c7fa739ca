"""Detects replies that ignore a format which the prompt asks for, with the verifiers `instructions`
and `format`, both strict."""

import json
from functools import lru_cache

from corner_cases.interface import Finding, Reply, finding
from prompts.parts import FormatPart
from prompts.schema import Prompt
from rewards.format import consists_of, matches
from rewards.instructions.registry import constraints_of
from rewards.instructions.verifier import follows

CASE = "ignored_format"


def detect(prompt: Prompt, reply: Reply) -> Finding | None:
    """The constraints of `metadata.instructions` and the form of `metadata.format` (the settings of
    the verifier `format`) that the reply does not follow. A pattern that takes longer than the
    verifier allows raises TimeoutError."""
    missed = [*_missed_instructions(prompt, reply), *_missed_form(prompt, reply)]
    if not missed:
        return None
    return finding(CASE, f"does not follow ({', '.join(missed)})", reply.text)


def _missed_instructions(prompt: Prompt, reply: Reply) -> list[str]:
    if "instructions" not in prompt.metadata:
        return []
    return [one.id for one in constraints_of(prompt) if not follows(one, [reply.text])]


def _missed_form(prompt: Prompt, reply: Reply) -> list[str]:
    if "format" not in prompt.metadata:
        return []
    part = _part(json.dumps(prompt.metadata["format"], sort_keys=True))
    if part.pattern is None:
        return [] if consists_of(reply.text, part.tags) else ["tags"]
    return [] if matches(part, reply.text.strip()) else ["pattern"]


@lru_cache(maxsize=256)
def _part(settings: str) -> FormatPart:
    return FormatPart.model_validate({"verifier": "format", **json.loads(settings)})
