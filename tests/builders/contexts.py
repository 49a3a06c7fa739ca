"""Contexts of stages that report nowhere."""

from typing import Any

from common.stage import StageContext


def stage_context(folder, seed=0, **settings):
    """A context that reports nowhere and is never asked to stop, unless `settings` say so."""
    defaults: dict[str, Any] = {"progress": lambda *_, **__: None, "threads": 1}
    defaults |= {"stop_requested": lambda: False}
    return StageContext(folder, seed, **(defaults | settings))
