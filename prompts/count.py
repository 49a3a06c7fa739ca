"""How many prompts a source has, where that is known before it is read; light."""

from pathlib import Path

from prompts.config import JsonlSource, PromptSource, ReasoningGymSource
from prompts.shards import read_bytes, shards


def count(source: PromptSource) -> int | None:
    """Most prompts of a source; None where only reading it tells."""
    if isinstance(source, ReasoningGymSource):
        return source.count
    if isinstance(source, JsonlSource):
        files = shards(Path(source.path), source.source)
        lines = (line for file in files for line in read_bytes(file).split(b"\n"))
        return sum(bool(line.strip()) for line in lines)
    return None
