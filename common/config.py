"""The base of every config: frozen, strict, documented by the docstring under each field."""

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """A recipe section. Unknown fields are errors; values cannot change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)
