"""Loads the prompts of a source in the recipe."""

from prompts import reasoning_gym_source, rows
from prompts.bad_rows import BadRows
from prompts.config import PromptSource, ReasoningGymSource, SuiteRows
from prompts.schema import Prompt


def load_source(config: PromptSource | SuiteRows, bad_rows: BadRows | None = None) -> list[Prompt]:
    """Every prompt of `config`, duplicates included, in a stable order. Raises BadInput on invalid
    sources. `bad_rows` gets the rows that the source skips."""
    return (
        reasoning_gym_source.load(config)
        if isinstance(config, ReasoningGymSource)
        else rows.load(config, bad_rows)
    )
