"""Every field of a recipe with every kind of wrong value: said in words, with place, value and an
example."""

import json
import re
from collections.abc import Sequence
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from common.yaml_files.allowed import (
    Slot,
    as_yaml,
    describe,
    example,
    options,
    slot_at,
    tag_field,
    tags,
)
from common.yaml_files.lines import Located, dotted, load_text
from common.yaml_files.problems import booleans_as_numbers, problems_of
from evals.suite_file import SuiteFile
from pipeline.checkout import PACKAGES
from pipeline.recipe.schema import Recipe
from prompts.config import PromptSource, SuiteRows
from prompts.parts import Part
from stages import registry

CURRICULA = ("uniform", "drop_zero_variance", "dynamic_sampling", "refilter", "posterior")
TRAINED = {"from": "base", "learning_rate": 1e-4, "lora": {"layers": [0]}}
EXAMPLE = {"question": "q", "answer": "a"}
FULL: dict[str, Any] = {
    "name": "full",
    "model": {"upcycle": "smollm2-135m-instruct"},
    "prompts": [
        {
            "source": "reasoning_gym",
            "family": "gcd",
            "count": 9,
            "graded_by": ["n"],
            "question": "{a}",
            "rewards": [
                {"verifier": "reasoning_gym"},
                {"verifier": "rubric", "model": "m", "items": [{"item": "states the unit"}]},
                {"verifier": "compare", "url": "http://x", "model_name": "m"},
                {"verifier": "format", "tags": ["a"]},
                {"verifier": "function", "file": "my_reward.py"},
            ],
        },
        *(
            {"source": name, "path": "x", "capability": "c"}
            for name in ("jsonl", "parquet", "datasets")
        ),
        {
            "source": "file",
            "path": "x",
            "fields": {"prompt": "q", "answer": "a", "choices": "c", "labels": "l"},
        },
    ],
    "stages": [
        {
            "id": "filter",
            "kind": "judge_filter",
            "drop_easiest": 0.5,
            "judges": [
                {"kind": "attempts", "model": "m", "examples": {"c": [EXAMPLE]}},
                {"kind": "rubric", "url": "http://x", "model_name": "m"},
                {"kind": "pairwise", "model": "m"},
            ],
            "audit": {},
        },
        {"id": "sft", "kind": "sft", "on": "filter", "stop_when": {}, **TRAINED},
        *(
            {
                "id": name,
                "kind": "rl",
                "on": "filter",
                "steps": 3,
                "curriculum": {"kind": name, "shares": {"c": 1.0}},
                "evaluate": {"every": 1},
                **TRAINED,
            }
            for name in (*CURRICULA, "gaussian")
        ),
        {"id": "dpo", "kind": "dpo", "pairs": "uniform", **TRAINED},
        {
            "id": "mixed",
            "kind": "dpo",
            "pairs": [
                {"stage": "uniform", "share": 0.5},
                {"path": "x", "share": 0.5, "fields": {"chosen": "good", "rejected": "bad"}},
            ],
            **TRAINED,
        },
        {"id": "mended", "kind": "dpo", "pairs": {"corner_cases": ["gushing"]}, **TRAINED},
        {"id": "adopted", "kind": "adopt", "folder": "x"},
    ],
    "evaluate": {
        "suites": [{"name": "gsm8k"}],
        "after": ["sft"],
        "gates": [{"suite": "gsm8k", "max_drop": 0.1}],
    },
    "runtime": {
        "keep": {},
        "devices": {"engine": {"kind": "in_process"}},
        "stages": {
            "rl": {"devices": {"engine": {"kind": "server"}}},
            "filter": {
                "devices": {"engine": {"kind": "remote", "urls": ["http://x"], "weights_dir": "w"}}
            },
        },
    },
}
"""Every section that a recipe can have; what is not written here is added from its example."""


def add_missing(sections: list[Any], members: Sequence[type[BaseModel]]) -> None:
    """Append the example of each member of a union that has no section yet."""
    for member in members:
        field, known = tag_field(member), tags(member)
        if all(section[field] not in known for section in sections):
            shown = example(Slot(member))
            sections.append({**shown, **({"id": f"a_{known[0]}"} if "id" in shown else {})})


add_missing(FULL["prompts"], options(PromptSource))
add_missing(FULL["prompts"][0]["rewards"], options(Part))
add_missing(FULL["stages"], registry.KINDS)
WRONG = [None, True, -1, 1.5, 10**30, "", " ", "words", [], ["words"], [None], {}, {"x": 1}]
LIBRARY = re.compile(
    r"\b(tuple|should|validation|instance|correct the"
    r" value|dictionary|[Ii]nput|pars\w+|literal|None|True|str|"
    r"string|integer|int|float|bool|boolean|NoneType|mapping|\w+_type|\w+_error|iterable|valid)\b"
)
"""Words of pydantic and of Python, which are no words of a recipe's author."""


def fields(model, path=()):
    """Every field of every section below `model`, with its path and the section's class."""
    for name, field in type(model).model_fields.items():
        place = (*path, field.alias or name)
        yield place, type(model)
        yield from _below(getattr(model, name), place)


def _below(value, path):
    if isinstance(value, BaseModel):
        yield from fields(value, path)
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _below(item, (*path, index))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _below(item, (*path, key))


def refused(data):
    """The problems of a recipe with this data; none if it is valid."""
    try:
        return booleans_as_numbers(Recipe.model_validate(data), data)
    except ValidationError as error:
        return problems_of(error, Located(data, "r.yaml"), Recipe)


def changed(path, value):
    data = json.loads(json.dumps(FULL))
    inner = data
    for part in path[:-1]:
        inner = inner.setdefault(part, {}) if isinstance(inner, dict) else inner[part]
    inner[path[-1]] = value
    return data


FIELDS = list(fields(Recipe.model_validate(FULL)))


def test_the_whole_recipe_is_covered():
    covered = {section for _, section in FIELDS}

    def below(section):
        return {section}.union(*(below(one) for one in section.__subclasses__()))

    from common.config import Config
    from prompts.function_part import StoredFunction
    from prompts.pair_config import PairFile
    from stages import questions
    from stages.base.config import BaseStage
    from stages.evaluate.config import EvaluateStage
    from stages.harness.config import HarnessStage
    from stages.preflight.config import PreflightStage
    from stages.prompts.config import PromptsStage

    bases = {one for one in below(Config) if one.__subclasses__()}
    sections = {one for one in below(Config) if not one.__module__.startswith("rewards.")}
    ours = {one for one in sections if one.__module__.split(".")[0] in PACKAGES}
    asks = {one for one in ours if one.__module__ == questions.__name__}
    implicit = {BaseStage, EvaluateStage, HarnessStage, PreflightStage, PromptsStage, PairFile}
    of_suites = {SuiteFile, SuiteRows, *(one for one in ours if one.__module__ == "evals.needle")}
    assert ours - bases - covered - asks - {StoredFunction} - of_suites <= implicit


@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_a_wrong_value_is_said_in_words_with_what_is_allowed_and_an_example(value):
    found = [(path, problem) for path, _ in FIELDS for problem in refused(changed(path, value))]
    for path, problem in found:
        said = f"{problem.message}; {problem.remedy}"
        assert not LIBRARY.search(said.replace(repr(value), "")), (dotted(path), said)
        assert problem.path[: len(path)] == path[: len(problem.path)], (path, problem)
        helps = (
            "for example `",
            "did you mean ",
            "known are: ",
            "write it in quotes: ",
            "change one of the fields",
            "remove ",
        )
        assert (
            any(words in problem.remedy for words in helps) or "is required: " in problem.message
        ), (path, said)
        assert "must be" not in said or "got " in said, (path, said)
    assert len(found) > 10


def test_examples_are_what_the_fields_take():
    for path, section in FIELDS:
        name, slot = path[-1], slot_at(section, path[-1:])
        value = load_text(as_yaml(example(slot), name), "r.yaml").data[name]
        as_field: Any = Annotated[slot.annotation, *slot.limits, "as a field"]
        TypeAdapter(as_field).validate_python(value)
        assert describe(slot)


@pytest.mark.parametrize(
    ("path", "value", "message", "remedy"),
    [
        (
            ("evaluate", "suites"),
            ["gsm9k"],
            "there is no suite 'gsm9k', got 'gsm9k'",
            "'gsm8k'?",
        ),
        (
            ("evaluate", "suites"),
            [],
            "must be a list of at least one item, each item a section with name, got []",
            "",
        ),
        (
            ("name",),
            "../x",
            "must be at most 100 letters, digits, - and _, the first",
            "`name: my_run`",
        ),
        (
            ("stages", 0, "id"),
            5,
            "must be a text that is not blank, got 5",
            'write it in quotes: "5"',
        ),
        (
            ("stages", 2, "curriculum"),
            None,
            "must be a section whose kind is uniform, ",
            "kind: posterior",
        ),
        (
            ("stages", 6, "curriculum", "band"),
            [0.2],
            "is required: a number",
            "set stages[6].curriculum.band[1]",
        ),
        (
            ("prompts", 0, "system"),
            " ",
            "must be a text that is not blank, got ' '",
            "for example `system: ",
        ),
        (
            ("prompts", 0, "held_out"),
            1,
            "must be a number of at least 0 and less than 1, got 1",
            "`held_out: 0.1`",
        ),
    ],
)
def test_one_wrong_value_is_one_problem(path, value, message, remedy):
    (problem,) = refused(changed(path, value))
    assert problem.message.startswith(message) and remedy in problem.remedy, problem


def test_true_is_no_number():
    taken = [path for path, _ in FIELDS if not refused(changed(path, True))]
    assert {path[-1] for path in taken} == {
        *("stratified", "gradient_checkpointing", "packing", "answer_boxed", "keep_best"),
        *("list_choices", "shuffle_choices"),
        *("show_reference", "partial", "dev"),
    }
    assert refused(changed(("stages", 6, "curriculum", "band"), [True, 1.0]))
