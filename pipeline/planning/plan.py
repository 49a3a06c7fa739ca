"""A recipe as ordered nodes: what runs, on which inputs, under which identity.

Nodes are the two implicit stages `prompts` and `base`, the recipe's stages, and an evaluation
`eval-<id>` after each stage that the recipe wants evaluated. A node's identity is its config, its
seed and what the person's own files hold; its fingerprint adds the fingerprints of its inputs.
Where a run lives and what runs it are no part of either."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from common.artifacts import CHECKPOINT, RESULTS, Artifact
from common.errors import BadInput
from common.execution import ExecutionConfig
from common.files import checksum
from common.fingerprint import fingerprint
from common.seeds import derive
from pipeline.planning.early_check import early_check
from pipeline.planning.identity import identity_of
from pipeline.recipe.declared import declared
from pipeline.recipe.problems import nearest
from pipeline.recipe.schema import Recipe
from pipeline.recipe.user_files import Read, named_files
from stages.declaration import FROM, StageConfig
from stages.evaluate.config import EvaluateStage

EVALUATIONS = "evals"
"""The folder of a run below which the evaluations live, each under the id of the stage it
evaluates."""
EVALUATION_SEED = "evaluate"
"""By which the seed of all evaluations is derived: the checkpoints answer the same prompts under
the same draws."""


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
    produces: tuple[str, ...] = ()
    """Names of the artifacts that it leaves."""
    weight_inputs: tuple[str, ...] = ()
    """Names of the inputs whose weights must be on disk."""
    execution: Mapping[str, Any] = field(default_factory=dict)
    """The execution settings that it reads; in no fingerprint."""
    adopts: str = ""
    """The folder of another run's stage that it takes over; empty if it makes its own output."""

    def leaves(self, artifact: Artifact) -> bool:
        """Whether its folder has an artifact when it is done."""
        return artifact.name in self.produces

    @property
    def evaluated(self) -> str | None:
        """The stage whose checkpoint it evaluates; None if it is no evaluation."""
        return self.inputs[FROM] if self.leaves(RESULTS) else None


@dataclass(frozen=True)
class Plan:
    """A run: its nodes in the order in which they run."""

    name: str
    nodes: tuple[Node, ...]
    gate: Mapping[str, Any] | None = None
    """`suite` and `max_drop`, checked after every evaluation."""
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
        evaluated = {node.evaluated for node in self.nodes if node.evaluated}
        parent = self._parent(stage)
        while parent is not None and parent not in evaluated:
            parent = self._parent(parent)
        return parent

    def _parent(self, stage: str) -> str | None:
        """The stage whose checkpoint another one goes on from."""
        node = self[stage]
        return node.inputs.get(FROM) if node.leaves(CHECKPOINT) else None


def make_node(
    config: StageConfig,
    seed: int,
    earlier: Mapping[str, Node] | None,
    place: str,
    *,
    execution: ExecutionConfig | None = None,
    module: str | None = None,
    read: Read = checksum,
) -> Node:
    """The node of one stage config, on top of the nodes that come before it; None where its inputs
    are no nodes."""
    identity = identity_of(config, seed, read)
    inputs = config.input_ids()
    read_from = {} if earlier is None else {name: earlier[id] for name, id in inputs.items()}
    made_from = {name: node.fingerprint for name, node in read_from.items()}
    adopted = [named.text for named in named_files(config) if named.mark.what == "stage"]
    return Node(
        id=config.id,
        kind=config.kind,
        config=config.model_dump(mode="json", by_alias=True),
        config_type=f"{type(config).__module__}:{type(config).__qualname__}",
        seed=seed,
        inputs=inputs,
        identity=identity,
        fingerprint=fingerprint({**identity, "inputs": made_from}),
        place=place,
        module=module or f"{type(config).__module__.rpartition('.')[0]}.run",
        produces=tuple(artifact.name for artifact in config.makes() or ()),
        weight_inputs=config.weight_inputs(),
        execution=(execution or ExecutionConfig()).part(config.reads_execution),
        adopts=adopted[0] if adopted else "",
    )


def build_plan(recipe: Recipe, read: Read = checksum) -> Plan:
    """The plan of a checked recipe. Takes the checksums of the user's files by `read`, and reads
    nothing else."""
    nodes: dict[str, Node] = {}
    number = 0
    for stage in declared(recipe):
        config = stage.config
        if isinstance(config, EvaluateStage):
            seed, place = derive(recipe.seed, EVALUATION_SEED), f"{EVALUATIONS}/{config.of}"
        else:
            number += 1
            seed, place = derive(recipe.seed, config.id), f"{number:02d}-{config.id}"
        execution = stage.execution
        nodes[config.id] = make_node(config, seed, nodes, place, execution=execution, read=read)
    evaluate = recipe.evaluate
    rollouts = evaluate.rollouts.model_dump(mode="json") if evaluate else {}
    gate = evaluate.gate.model_dump(mode="json") if evaluate and evaluate.gate else None
    return Plan(
        name=recipe.name,
        nodes=tuple(nodes.values()),
        gate=gate,
        evaluate={"seed": derive(recipe.seed, EVALUATION_SEED), "rollouts": rollouts},
        runtime=recipe.runtime.model_dump(mode="json"),
        budget=recipe.budget.model_dump(mode="json"),
        preflight=_preflight(recipe, nodes),
    )


def _preflight(recipe: Recipe, nodes: Mapping[str, Node]) -> Node:
    """The early check. It is made again when anything in the run is another: the nodes know of all
    files."""
    node = make_node(early_check(recipe), 0, nodes, "preflight")
    known = {one.id: one.fingerprint for one in nodes.values()}
    identity = {**node.identity, "nodes": known}
    return replace(node, identity=identity, fingerprint=fingerprint(identity))


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
