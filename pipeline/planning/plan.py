"""A recipe as ordered nodes: what runs, on which inputs, under which identity.

Nodes are the two implicit stages `prompts` and `base`, the recipe's stages, and an evaluation
`eval-<id>` after each stage that the recipe wants evaluated. A node's identity is its config, its
seed and what the person's own files hold; its fingerprint adds the fingerprints of its inputs.
Where a run lives and what runs it are no part of either."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from common.errors import BadInput
from common.files import checksum
from common.fingerprint import canonical, fingerprint
from common.seeds import derive
from models.config import UPCYCLE_DEFAULTS, ModelConfig
from pipeline.planning.early_check import asks_of
from pipeline.recipe.problems import nearest
from pipeline.recipe.references import EVALUATION_PREFIX
from pipeline.recipe.schema import Recipe
from pipeline.recipe.user_files import (
    ADOPTED_FOLDERS,
    TOKENIZER,
    Read,
    content,
    user_paths,
    value_at,
)
from pipeline.store.adopted import kind_of
from pipeline.store.record import record_checksum
from stages.adopt.config import AdoptStage
from stages.base.config import BaseStage
from stages.evaluate.config import EvaluateStage
from stages.preflight.config import PreflightStage
from stages.prompts.config import PromptsStage
from stages.reference import StageConfig
from training.config import TrainingStage

EVALUATIONS = "evals"
"""The folder of a run below which the evaluations live, each under the id of the stage it
evaluates."""
EVALUATE = "evaluate"
"""The kind of the evaluations, and the name that their seed is derived by."""
ADOPT = "stages.adopt.run"
"""What runs a stage that is adopted: its kind is that of what it adopts."""


@dataclass(frozen=True)
class Node:
    """One thing to run; plain data, so that a run folder can keep it."""

    id: str
    kind: str
    config: Mapping[str, Any]
    """The stage's config as it was written, defaults left out."""
    config_type: str
    """The class that reads it, as `module:Class`."""
    seed: int
    inputs: Mapping[str, str]
    """Input name to the id of the node whose finished folder it is."""
    identity: Mapping[str, Any]
    """What makes this node itself, inputs aside: plain JSON, compared field by field."""
    fingerprint: str
    place: str
    """The folder below the run's, e.g. `03-sft` or `evals/sft`."""
    module: str
    """Where `run(config, inputs, context)` is."""


@dataclass(frozen=True)
class Plan:
    """A run: its nodes in the order in which they run."""

    name: str
    nodes: tuple[Node, ...]
    gate: Mapping[str, Any] | None = None
    """`suite` and `max_drop`, checked after every evaluation."""
    parents: Mapping[str, str] = field(default_factory=dict)
    """Stage id to the id of the stage whose checkpoint it goes on from."""
    evaluate: Mapping[str, Any] = field(default_factory=dict)
    """How a checkpoint of this run is evaluated by hand: `seed` and `rollouts`."""
    runtime: Mapping[str, Any] = field(default_factory=dict)
    """The recipe's `runtime`, in no fingerprint."""
    budget: Mapping[str, Any] = field(default_factory=dict)
    """`hours` and `tokens`, in no fingerprint."""
    preflight: Node | None = None
    """What is asked before the first stage that costs anything. No node reads it, so it is not
    among `nodes`."""

    def __getitem__(self, name: str) -> Node:
        for node in self.nodes:
            if node.id == name:
                return node
        raise BadInput(
            f"{self.name} has no stage {name!r}", nearest(name, [node.id for node in self.nodes])
        )

    def downstream(self, name: str) -> Iterator[Node]:
        """The nodes that read, directly or not, what `name` makes; in order, without `name`."""
        reached = {name}
        for node in self.nodes:
            if reached & set(node.inputs.values()):
                reached.add(node.id)
                yield node

    def evaluated_parent(self, stage: str) -> str | None:
        """The nearest stage before `stage` on its line of checkpoints that is evaluated too."""
        evaluated = {node.inputs["checkpoint"] for node in self.nodes if node.kind == EVALUATE}
        parent = self.parents.get(stage)
        while parent is not None and parent not in evaluated:
            parent = self.parents.get(parent)
        return parent


def make_node(
    config: StageConfig,
    kind: str,
    seed: int,
    earlier: Mapping[str, Node],
    place: str,
    module: str | None = None,
    read: Read = checksum,
) -> Node:
    """The node of one stage config, on top of the nodes that come before it."""
    identity = {"config": identity_of(config, read), "kind": kind, "seed": seed}
    inputs = config.input_ids()
    made_from = {name: earlier[node].fingerprint for name, node in inputs.items()}
    return Node(
        id=config.id,
        kind=kind,
        config=config.model_dump(mode="json", by_alias=True),
        config_type=f"{type(config).__module__}:{type(config).__qualname__}",
        seed=seed,
        inputs=inputs,
        identity=identity,
        fingerprint=fingerprint({**identity, "inputs": made_from}),
        place=place,
        module=module or f"stages.{kind}.run",
    )


def kind_at_work(node: Node) -> str:
    """What the node's process does: adopting, whatever the kind of what it adopts."""
    return "adopt" if node.module == ADOPT else node.kind


def build_plan(recipe: Recipe, read: Read = checksum) -> Plan:
    """The plan of a checked recipe. Takes the checksums of the person's files by `read`, and reads
    nothing else."""
    stages: list[tuple[StageConfig, str]] = [
        (PromptsStage(sources=recipe.prompts, tokenizer=_tokenizer(recipe)), "prompts"),
        (BaseStage(model=recipe.model), "base"),
        *((stage, kind_of(stage, stage.kind) or stage.kind) for stage in recipe.stages),
    ]
    nodes: dict[str, Node] = {}
    after = recipe.evaluate.after if recipe.evaluate else ()
    for number, (config, kind) in enumerate(stages, start=1):
        place, module = (
            f"{number:02d}-{config.id}",
            ADOPT if isinstance(config, AdoptStage) else None,
        )
        nodes[config.id] = make_node(
            config, kind, derive(recipe.seed, config.id), nodes, place, module, read
        )
        if config.id in after:
            evaluation = _evaluation(recipe, config.id)
            # One seed for all: the checkpoints answer the same prompts under the same draws.
            seed = derive(recipe.seed, EVALUATE)
            nodes[evaluation.id] = make_node(
                evaluation, EVALUATE, seed, nodes, f"{EVALUATIONS}/{config.id}"
            )
    gate = (
        recipe.evaluate.gate.model_dump(mode="json")
        if recipe.evaluate and recipe.evaluate.gate
        else None
    )
    parents = {stage.id: stage.from_ for stage in recipe.stages if isinstance(stage, TrainingStage)}
    rollouts = recipe.evaluate.rollouts.model_dump(mode="json") if recipe.evaluate else {}
    evaluate = {"seed": derive(recipe.seed, EVALUATE), "rollouts": rollouts}
    runtime, budget = (part.model_dump(mode="json") for part in (recipe.runtime, recipe.budget))
    early = _preflight(recipe, nodes)
    return Plan(recipe.name, tuple(nodes.values()), gate, parents, evaluate, runtime, budget, early)


def _preflight(recipe: Recipe, nodes: Mapping[str, Node]) -> Node:
    """The early check. It is made again when anything in the run is another: the nodes know of all
    files."""
    config = asks_of(recipe)
    identity = {
        "config": canonical(config),
        "nodes": {node.id: node.fingerprint for node in nodes.values()},
    }
    return Node(
        id=config.id,
        kind=config.kind,
        config=config.model_dump(mode="json", by_alias=True),
        config_type=f"{PreflightStage.__module__}:{PreflightStage.__qualname__}",
        seed=0,
        inputs=config.input_ids(),
        identity=identity,
        fingerprint=fingerprint(identity),
        place=config.id,
        module="stages.preflight.run",
    )


def _tokenizer(recipe: Recipe) -> ModelConfig | None:
    """Whose tokens the sources count, if one does: prompts that depend on no length depend on no
    model either."""
    if all(source.max_prompt_tokens is None for source in recipe.prompts):
        return None
    upcycled = recipe.model.upcycle is not None
    # What a prompt is filled up with, and what the model is upcycled to, changes no length.
    return recipe.model.model_copy(
        update={"pad_token": None, **(UPCYCLE_DEFAULTS if upcycled else {})}
    )


def _evaluation(recipe: Recipe, stage: str) -> EvaluateStage:
    assert recipe.evaluate is not None
    evaluate = recipe.evaluate
    return EvaluateStage(
        id=f"{EVALUATION_PREFIX}{stage}",
        of=stage,
        suites=evaluate.suites,
        rollouts=evaluate.rollouts,
    )


def identity_of(config: BaseModel, read: Read = checksum) -> dict[str, Any]:
    """The whole config as plain JSON, every file of the person's replaced by what it holds."""
    data: dict[str, Any] = canonical(config.model_dump(mode="json", by_alias=True))
    # The same fields as in a recipe, seen from a single stage's config.
    for section in ({"prompts": data.get("sources")}, data, {"stages": [data]}):
        for path in list(user_paths(section)):
            place = Path(value_at(section, path))
            # What is adopted has a record of the checksums of all its files, which stands for them.
            adopted, tokenizer = path[-1] == ADOPTED_FOLDERS[-1], path[0] == TOKENIZER
            held = (
                record_checksum(place)
                if adopted
                else content(place, read, without_weights=tokenizer)
            )
            value_at(section, path[:-1])[path[-1]] = f"content {held[:16]}"
    return data


def chosen(plan: Plan, only: str | None, until: str | None) -> Sequence[Node]:
    """The nodes that `--stage` or `--until` leave in, in order."""
    if only is not None and until is not None:
        raise BadInput("--stage and --until exclude each other", "give one of them")
    if only is not None:
        return (plan[only],)
    if until is not None:
        return plan.nodes[: plan.nodes.index(plan[until]) + 1]
    return plan.nodes


def folder_of(node: Node, run: Path) -> Path:
    """Where the node's finished output is, or will be.

    A folder that got another number when the recipe had other stages stays the stage's own:
    identity is the id."""
    if node.place.startswith(f"{EVALUATIONS}/"):
        return run / node.place
    pattern = re.compile(rf"\d+-{re.escape(node.id)}(\.partial)?")
    found = (
        sorted(path for path in run.glob("*") if pattern.fullmatch(path.name))
        if run.is_dir()
        else []
    )
    finished = [path for path in found if path.suffix != ".partial"]
    if finished:
        return finished[0]
    return found[0].with_suffix("") if found else run / node.place
