"""Where judges' replies are kept over runs: a second run asks nothing, and a larger pool asks only
about the new prompts."""

from pathlib import Path

from models.packaged import cache_folder

VERDICTS = "verdicts.sqlite"
"""File name of the cache, in the folder of the converted models."""


def cache_path() -> Path:
    """The cache's file on this machine."""
    return cache_folder() / VERDICTS
