"""The texts of prompts, which answers do not contain. A suite whose data is gone has none: the
viewer then shows the answers alone."""

from collections.abc import Collection, Sequence

from pydantic import ValidationError

from common.errors import BadInput
from evals.config import SuiteConfig
from evals.suites import load_suite
from prompts.schema import Prompt
from report.source import RunSource, StageSource

Key = tuple[str, str]


def prompt_texts(runs: Sequence[RunSource], wanted: Collection[Key]) -> dict[Key, str]:
    """Suite and id to text, of the wanted prompts that can be found."""
    texts: dict[Key, str] = {}
    for run in runs:
        loaded: set[str] = set()
        for stage in run.stages:
            for settings in stage.config.get("suites", ()) if stage.evaluated else ():
                name = settings["name"]
                if name not in loaded and any(key[0] == name for key in wanted):
                    loaded.add(name)
                    for prompt in _load(settings, _prompts_folder(run, stage)):
                        if (name, prompt.id) in wanted:
                            texts.setdefault((name, prompt.id), text_of(prompt))
    return texts


def _prompts_folder(run: RunSource, evaluation: StageSource) -> StageSource | None:
    """The stage that an evaluation reads its held-out prompts from."""
    named = (run.stage(id) for name, id in evaluation.inputs.items() if name == "prompts")
    return next(named, None)


def _load(settings: dict[str, object], prompts: StageSource | None) -> list[Prompt]:
    try:
        config = SuiteConfig.model_validate(settings)
        return load_suite(config, prompts.folder if prompts else None)
    except (BadInput, ValidationError, OSError):
        return []


def text_of(prompt: Prompt) -> str:
    """The user's message; where there are more, all of them with their roles."""
    if len(prompt.messages) == 1:
        return prompt.task
    return "\n\n".join(f"[{one['role']}]\n{one['content']}" for one in prompt.messages)
