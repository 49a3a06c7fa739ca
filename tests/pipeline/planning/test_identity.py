"""What makes a stage itself: what differs from the defaults, and nothing of how it is run."""

import json
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from pydantic import BaseModel, Field

from common.config import Config
from common.yaml_files.allowed import options
from curriculum.config import CurriculumConfig, Posterior, Uniform
from pipeline.planning.identity import essential, identity_of
from stages import registry
from stages.base.config import BaseStage
from stages.declaration import StageConfig
from stages.evaluate.config import EvaluateStage
from stages.prompts.config import PromptsStage
from stages.rl.config import RlStage
from stages.sft.config import SftStage

DEFAULTS = Path(__file__).with_name("defaults.json")
SFT = {"id": "sft", "kind": "sft", "on": "prompts", "learning_rate": 1e-4}
RL = {"id": "rl", "kind": "rl", "from": "sft", "on": "prompts", "steps": 2, "learning_rate": 1e-4}


class Before(StageConfig):
    """A kind as it was."""

    kind: Literal["toy"] = "toy"
    steps: int = 3


class After(Before):
    """The same with a field more."""

    warmth: float = 0.5


class Changed(Before):
    """The same settings with another meaning."""

    version: ClassVar[int] = 2


class Section(Config):
    curriculum: CurriculumConfig = Field(default=Posterior())


def test_a_field_with_its_default_is_no_part_of_an_identity_and_one_without_is():
    plain = identity_of(SftStage.model_validate(SFT), 7)
    assert plain["config"] == {**SFT, "kind": "sft"}
    assert identity_of(SftStage.model_validate({**SFT, "epochs": 1.0}), 7) == plain
    assert identity_of(SftStage.model_validate({**SFT, "epochs": 2.0}), 7) != plain


def test_a_new_field_with_a_default_leaves_older_stages_as_they_are():
    assert identity_of(After(id="x"), 1) == identity_of(Before(id="x"), 1)
    assert identity_of(After(id="x", warmth=0.6), 1) != identity_of(Before(id="x"), 1)


def test_a_raised_version_makes_older_stages_stale():
    assert identity_of(Changed(id="x"), 1) != identity_of(Before(id="x"), 1)


def test_members_of_a_union_are_told_apart_even_where_all_is_default():
    assert essential(Section()) == {}
    assert essential(Section(curriculum=Uniform())) == {"curriculum": {"kind": "uniform"}}
    uniform = RlStage.model_validate({**RL, "curriculum": {"kind": "uniform"}})
    assert identity_of(uniform, 1) != identity_of(RlStage.model_validate(RL), 1)


def test_what_is_held_by_a_file_stands_in_place_of_its_path(tmp_path):
    def stage(folder, text):
        folder.mkdir()
        (folder / "config.json").write_text(text)
        model = {"checkpoint": str(folder), "pad_token": "x"}
        return identity_of(BaseStage.model_validate({"model": model}), 1)

    one, same = stage(tmp_path / "one", "{}"), stage(tmp_path / "two", "{}")
    assert one == same and str(tmp_path) not in json.dumps(one)
    assert stage(tmp_path / "three", "{ }") != one


def defaults_of(model: type[BaseModel], path: str, seen: tuple[type, ...] = ()) -> dict[str, Any]:
    """Every default of a config and of what is nested in it, by dotted path."""
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        here = f"{path}.{field.alias or name}"
        if not field.is_required():
            default = field.get_default(call_default_factory=True)
            nested = isinstance(default, BaseModel)
            found[here] = type(default).__name__ if nested else json.loads(json.dumps(default))
        for option in _sections(field.annotation):
            if option not in seen:
                found |= defaults_of(option, f"{here}({option.__name__})", (*seen, option))
    return found


def _sections(annotation: Any) -> list[type[BaseModel]]:
    parts = [
        inner
        for option in options(annotation)
        for inner in (option, *getattr(option, "__args__", ()))
    ]
    found = [one for part in parts for one in options(part)]
    return [one for one in found if isinstance(one, type) and issubclass(one, BaseModel)]


def test_a_changed_default_raises_the_version_of_its_kind():
    """Add a line for a new field. Where a line changes, raise `version` of the kinds that it names:
    their finished stages were made with the earlier default, which no identity shows."""
    kinds: tuple[type[StageConfig], ...] = (PromptsStage, BaseStage, EvaluateStage, *registry.KINDS)
    now: dict[str, Any] = {}
    for kind in kinds:
        name = get_args(kind.model_fields["kind"].annotation)[0]
        now |= {name: {"version": kind.version, **defaults_of(kind, name)}}
    listed = json.loads(DEFAULTS.read_text())
    differing = {
        f"{name}: {path}": (listed.get(name, {}).get(path, "missing"), value)
        for name, defaults in now.items()
        for path, value in defaults.items()
        if listed.get(name, {}).get(path, "missing") != value
    }
    assert differing == {}, json.dumps(differing, indent=1)
    assert now == listed  # and nothing is listed that is no more
