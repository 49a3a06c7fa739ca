"""A fake of the part of W&B that uphill uses, with the signatures of wandb 0.31."""

import os
from types import SimpleNamespace

from fake_trackers.calls import called


class UsageError(Exception):
    """As wandb raises it."""


errors = SimpleNamespace(UsageError=UsageError)


def login(key=None, relogin=None, host=None, force=None, timeout=None, verify=True):
    if "WANDB_API_KEY" not in os.environ:
        raise UsageError("No API key configured. Use `wandb login` to log in.")
    return not verify


def Settings(console):
    return console


def Table(columns, data, allow_mixed_types=False):
    return {"columns": columns, "data": data}


def init(*, project, id, name, group, job_type, config, resume, dir, settings):
    called("init", project, id, name, group, job_type, config, resume, settings)
    return SimpleNamespace(
        log=lambda values, step: called("log", id, values, step),
        summary=SimpleNamespace(update=lambda values: called("summary", id, values)),
        finish=lambda: called("finish", id),
    )
