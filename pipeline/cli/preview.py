"""`uphill preview`: shows what a recipe's sources give, as the model will see it."""

from dataclasses import dataclass
from typing import Any

from common.errors import BadInput
from common.seeds import derive
from pipeline.cli.output import print_text
from pipeline.recipe.schema import Recipe
from prompts.config import PromptSource, ReasoningGymSource
from stages.declaration import PROMPTS_STAGE

LINE = "-" * 72
SHOWN = 80
"""Characters of an answer that are shown."""


@dataclass(frozen=True)
class Preview:
    """The result of `uphill preview`."""

    document: dict[str, Any]
    """The document of `preview --json`."""

    def show(self) -> None:
        """Print every source with its prompts and bad rows."""
        for source in self.document["sources"]:
            _show(source)


def preview_recipe(recipe: Recipe, source: str | None, limit: int) -> Preview:
    """Preview all sources of a recipe, or the one that `source` names."""
    from stages.prompts.preview import preview

    chosen = [recipe.prompts[number] for number in _numbers(recipe.prompts, source)]
    seed = derive(recipe.seed, PROMPTS_STAGE)
    return Preview({"sources": preview(chosen, recipe.model, seed, limit)})


def _numbers(sources: tuple[PromptSource, ...], wanted: str | None) -> list[int]:
    """The numbers of the wanted sources: all, one by its number, or those of a name."""
    if wanted is None:
        return list(range(len(sources)))
    if wanted.isdecimal() and int(wanted) < len(sources):
        return [int(wanted)]
    names = [_name(source) for source in sources]
    found = [number for number, name in enumerate(names) if name == wanted]
    if not found:
        known = ", ".join(f"{number} ({name})" for number, name in enumerate(names))
        raise BadInput(f"the recipe has no source {wanted!r}", f"the sources are {known}")
    return found


def _name(source: PromptSource) -> str:
    return source.family if isinstance(source, ReasoningGymSource) else source.name


def _show(source: dict[str, Any]) -> None:
    more = "" if source["whole"] else " and more"
    limit = source["max_prompt_tokens"]
    print_text(
        f"{source['path']}: {source['examined']} prompts{more}, {source['usable']} of these usable;"
        f" {source['held_out']:.0%} are held out;"
        f" {'no limit on length' if limit is None else f'at most {limit} tokens'}"
    )
    for prompt in source["prompts"]:
        _show_prompt(prompt)
    print(LINE)
    if source["bad_rows"]:
        skips = source["on_bad_row"] == "skip"
        ends = "left out" if skips else "the stage stops at the first"
        print_text(f"bad rows: {source['bad_rows']}, {ends} (on_bad_row: {source['on_bad_row']})")
        for row in source["bad"]:
            print_text(f"  {row['message']}")
    print()


def _show_prompt(prompt: dict[str, Any]) -> None:
    part = {None: "", True: ", held out", False: ", training"}[prompt["held_out"]]
    print(LINE)
    print_text(f"{prompt['place']}: {prompt['tokens']} tokens, {prompt['capability']}{part}")
    print_text(prompt["text"])
    if prompt["as_text"]:
        print_text(f"text of the messages, no special tokens: {' '.join(prompt['as_text'])}")
    print_text(f"reference: {_short(prompt['answer'])}")
    if prompt["solution"] is not None:
        print_text(f"solution: {_short(prompt['solution'])}")
    for reward in prompt["rewards"]:
        reads = "" if reward["reads"] is None else f", reads {_short(reward['reads'])}"
        print_text(f"verifier: {reward['name']}, weight {reward['weight']:g}{reads}")
    if prompt["metadata"]:
        print_text(f"metadata: {', '.join(prompt['metadata'])}")
    if prompt["problem"]:
        print_text(f"CANNOT BE USED: {prompt['problem']}")


def _short(text: str) -> str:
    return repr(text) if len(text) <= SHOWN else f"{text[:SHOWN]!r}..."
