"""Prompts of one message."""

from prompts.schema import Prompt


def prompt_of(id, text, answer="a", *, verifier="exact", capability="c", source="s", solution=None):
    """A prompt with `text` as its user message."""
    messages = [{"role": "user", "content": text}]
    return Prompt(id, messages, answer, verifier, capability, source, solution, {})
