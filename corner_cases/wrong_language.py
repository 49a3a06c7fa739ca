"""Detects replies in another language than the asked one, with the detector of the verifier
`language`."""

from corner_cases.interface import Finding, Reply, finding
from prompts.languages import code_of
from prompts.schema import Prompt
from rewards.instructions.units import sentences
from rewards.language import is_in, languages_of

CASE = "wrong_language"


def detect(prompt: Prompt, reply: Reply) -> Finding | None:
    """The first sentence in another language than `metadata.language`, if less than four fifths of
    the reply are in that one. A reply in no language, such as a number, is in any."""
    if "language" not in prompt.metadata:
        return None
    asked = code_of(str(prompt.metadata["language"]))
    if is_in(reply.text, asked):
        return None
    shares = languages_of(reply.text, asked)
    likeliest = next(label for label in shares if label != asked)
    wrong = next((s for s in sentences(reply.text) if not is_in(s, asked)), reply.text)
    start = max(0, reply.text.find(wrong))
    reason = f"another language ({likeliest}, asked for {asked})"
    return finding(CASE, reason, reply.text, start, start + len(wrong))
