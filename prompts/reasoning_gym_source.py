"""Tasks from reasoning-gym, and patches that make the library safe to import and to grade with.

The library imports `pycosat` for a single family (zebra_puzzles). That package needs a C compiler,
so it is not required here. Some of the library's scorers call `eval` on the text they grade; it is
replaced by `ast.literal_eval`."""

import ast
import difflib
import importlib.util
import sys
from functools import cache
from types import ModuleType
from typing import Any

from common.errors import BadInput, RunFailed
from common.seeds import derive
from prompts.config import ReasoningGymSource, template_fields
from prompts.schema import Prompt, content_id, with_system

NEEDS_PYCOSAT = frozenset({"zebra_puzzles"})
_EVALUATING = ("binary_matrix", "spiral_matrix", "string_insertion", "n_queens")
_GENERATOR_ERRORS = (
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    ArithmeticError,
)


def load(config: ReasoningGymSource) -> list[Prompt]:
    """Generate the tasks of `config`. Raises BadInput on an unknown family, bad settings or a bad
    template."""
    # Item i of seed s is item 0 of seed s + i, so consecutive seeds would give almost the same
    # tasks.
    dataset = create(
        config.family, config.settings, seed=derive(config.seed, "reasoning_gym"), size=config.count
    )
    prompts = []
    for index in range(config.count):
        try:
            entry = dataset[index]
        except _GENERATOR_ERRORS as error:
            raise _bad_settings(config.family, config.settings, error) from error
        prompts.append(_prompt(config, entry, index))
    return prompts


def create(family: str, settings: dict[str, Any], *, seed: int = 0, size: int = 1) -> Any:
    """The library's dataset object of `family`. Raises BadInput on an unknown family or settings it
    refuses."""
    library = library_module()
    known = library.factory.DATASETS
    if family not in known:
        near = difflib.get_close_matches(family, known, n=3, cutoff=0.5)
        remedy = (
            f"did you mean {', '.join(near)}?"
            if near
            else f"the families are: {', '.join(sorted(known))}"
        )
        raise BadInput(f"prompts: reasoning_gym has no family {family!r}", remedy)
    if family in NEEDS_PYCOSAT and pycosat_missing():
        raise BadInput(
            f"prompts: the family {family!r} needs the package pycosat", "pip install pycosat"
        )
    try:
        return library.create_dataset(family, seed=seed, size=size, **settings)
    except _GENERATOR_ERRORS as error:
        raise _bad_settings(family, settings, error) from error


@cache
def library_module() -> Any:
    """The imported library, with a placeholder for pycosat and without `eval` in its scorers."""
    if pycosat_missing():
        sys.modules["pycosat"] = _Absent("pycosat")
    import reasoning_gym
    import reasoning_gym.factory

    for family in _EVALUATING:
        dataset_class = reasoning_gym.factory.DATASETS[family][0]
        vars(sys.modules[dataset_class.__module__])["eval"] = ast.literal_eval
    return reasoning_gym


def pycosat_missing() -> bool:
    """Whether pycosat is missing (our own placeholder counts as missing)."""
    if "pycosat" in sys.modules:
        return isinstance(sys.modules["pycosat"], _Absent)
    return importlib.util.find_spec("pycosat") is None


class _Absent(ModuleType):
    """Placeholder for a package that is not installed. Any use raises RunFailed."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise RunFailed(
            f"{self.__name__}.{name} was called, but {self.__name__} is not installed",
            "pip install it",
        )


def _prompt(config: ReasoningGymSource, entry: dict[str, Any], index: int) -> Prompt:
    family = config.family
    if not isinstance(entry["answer"], str) or not entry["answer"].strip():
        raise BadInput(
            f"prompts: the family {family!r} has tasks without a reference answer, which judging"
            " and SFT need",
            "take another family",
        )
    question = worded(config, entry)
    messages = with_system([{"role": "user", "content": question}], config.system)
    source = f"reasoning_gym:{family}"
    return Prompt(
        id=content_id(source, config.settings, messages, entry["answer"]),
        messages=messages,
        answer=entry["answer"],
        verifier=config.rewards[0].verifier if config.rewards else "reasoning_gym",
        capability=config.group(),
        source=source,
        solution=None,
        metadata={
            "family": family,
            "settings": config.settings,
            "question": entry["question"],
            "item": to_json(entry["metadata"]),
        }
        | graded(config, entry),
        place=f"{source}, item {index}",
        rewards=config.stored_rewards(),
    )


def graded(config: ReasoningGymSource, entry: dict[str, Any]) -> dict[str, Any]:
    """The prompt's `difficulty`, if the recipe says which metadata define it."""
    available = entry["metadata"]
    for name in config.graded_by:
        if name not in available:
            raise BadInput(
                f"prompts: graded_by names {name}, which tasks of {config.family!r} do not have",
                f"available fields: {', '.join(sorted(available))}",
            )
    values = {name: to_json(available[name]) for name in config.graded_by}
    return {"difficulty": {**config.settings, **values}} if values else {}


def worded(config: ReasoningGymSource, entry: dict[str, Any]) -> str:
    """The task's text: the family's own, or the template filled in. Lists are written `1, 2, 3`."""
    if config.question is None:
        return str(entry["question"])
    available = {
        name: value for name, value in entry["metadata"].items() if not isinstance(value, dict)
    }
    available["question"] = entry["question"]
    for name in template_fields(config.question):
        if name not in available:
            raise BadInput(
                f"prompts: question {config.question!r} names {{{name}}}, which tasks of"
                f" {config.family!r} do not have",
                f"available fields: {', '.join(sorted(available))}",
            )
    return config.question.format_map({name: _plain(value) for name, value in available.items()})


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def to_json(value: Any) -> Any:
    """`value` as JSON values that `from_json` restores exactly: scorers depend on tuples and
    integer keys."""
    if isinstance(value, tuple):
        return {"!tuple": [to_json(item) for item in value]}
    if isinstance(value, (set, frozenset)):
        return {"!set": [to_json(item) for item in sorted(value, key=repr)]}
    if isinstance(value, list):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        if all(isinstance(key, str) and not key.startswith("!") for key in value):
            return {key: to_json(item) for key, item in value.items()}
        return {"!dict": [[to_json(key), to_json(item)] for key, item in value.items()]}
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    return str(value)


def from_json(value: Any) -> Any:
    """The inverse of `to_json`."""
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        (key, items), *_ = value.items()
        if key == "!tuple":
            return tuple(from_json(item) for item in items)
        if key == "!set":
            return {from_json(item) for item in items}
        if key == "!dict":
            return {from_json(name): from_json(item) for name, item in items}
    return {key: from_json(item) for key, item in value.items()}


def _bad_settings(family: str, settings: dict[str, Any], error: Exception) -> BadInput:
    detail = str(error) or type(error).__name__
    return BadInput(
        f"prompts: reasoning_gym family {family!r} refuses the settings {settings}: {detail}",
        "correct `settings`; their names and limits are those of the family's own config",
    )
