"""How stage configs name what they read: by the id of an earlier stage."""

from common.config import Config


class StageConfig(Config):
    """What every stage of a recipe has."""

    id: str
    """Name of this stage in the recipe, used in folders and on the command line."""

    def input_ids(self) -> dict[str, str]:
        """Input name to the id of the stage whose finished folder it is."""
        raise TypeError(f"{type(self).__name__} does not say what it reads")


BASE = "base"
"""Id of the implicit stage that builds the starting checkpoint."""
PROMPTS = "prompts"
"""Id of the implicit stage that gathers prompts and splits off the held-out ones."""
CHECKPOINT_KINDS = ("base", "sft", "rl", "dpo")
"""Kinds that leave a `checkpoint/` folder."""
