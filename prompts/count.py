"""How many prompts a source has, where that is known before it is read; light."""

from pathlib import Path

from prompts.config import FileSource, JsonlSource, PromptSource, ReasoningGymSource
from prompts.shards import LINES, bare_ending, is_saved_dataset, shards
from prompts.unpack import unpacked


def count(source: PromptSource) -> int | None:
    """Most prompts of a source; None where only reading it tells."""
    if isinstance(source, ReasoningGymSource):
        return source.count
    if not isinstance(source, JsonlSource | FileSource) or is_saved_dataset(Path(source.path)):
        return None
    files = shards(Path(source.path), source.source)
    if source.source == "file" and any(bare_ending(file.name) not in LINES for file in files):
        return None
    return sum(map(_lines, files))


def _lines(file: Path) -> int:
    with unpacked(file) as stream:
        return sum(not line.isspace() for line in stream)
