"""Turns a recipe into ordered nodes with their inputs, identities and fingerprints.

Nodes are the two implicit stages `prompts` and `base`, the recipe's stages, and an evaluation
`eval-<id>` after each stage in `evaluate.after`. A node's identity contains its config, its seed
and the content of the user's files; its fingerprint adds the fingerprints of its inputs. Neither
depends on the run folder or the machine."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from common.artifacts import RESULTS, Artifact
from common.errors import BadInput
from common.execution import ExecutionConfig
from common.files import checksum
from common.fingerprint import fingerprint
from common.seeds import derive
from common.yaml_files.problems import nearest
from pipeline.planning.early_check import early_check
from pipeline.planning.identity import identity_of
from pipeline.recipe.declared import declared
from pipeline.recipe.schema import Recipe
from pipeline.recipe.user_files import ReadChecksum, named_files
from stages.declaration import FROM, StageConfig
from stages.evaluate.config import EvaluateStage

EVALUATIONS = "evals"
"""The folder of a run that contains the evaluations, each named after the evaluated stage."""
EVALUATION_SEED = "evaluate"
"""The name from which the seed of all evaluations is derived: every checkpoint answers the same
prompts with the same random draws."""


@dataclass(frozen=True)
class Node:
    """One stage to run; plain data, so that `plan.json` can contain it."""

    id: str
    kind: str
    config: Mapping[str, Any]
    """The stage's whole config, defaults included."""
    config_type: str
    """The class that reads it, as `module:Class`."""
    seed: int
    inputs: Mapping[str, str]
    """Input name to the id of the node whose finished folder it is."""
    identity: Mapping[str, Any]
    """What decides the result, without the inputs; plain JSON, compared field by field."""
    fingerprint: str
    place: str
    """Its folder, relative to the run folder, e.g. `03-sft` or `evals/sft`."""
    module: str
    """The module that defines `run(config, inputs, context)`."""
    produces: tuple[str, ...] = ()
    """Names of the artifacts that it produces."""
    weight_inputs: tuple[str, ...] = ()
    """Names of the inputs whose weights must be on disk."""
    execution: Mapping[str, Any] = field(default_factory=dict)
    """The execution settings that it reads; not part of the fingerprint."""
    adopts: str = ""
    """The folder of another run's stage that it adopts; empty for other kinds of stage."""

    def has_output(self, artifact: Artifact) -> bool:
        """Whether the finished folder contains an artifact."""
        return artifact.name in self.produces

    @property
    def evaluated(self) -> str | None:
        """The stage whose checkpoint it evaluates; None if it is no evaluation."""
        return self.inputs[FROM] if self.has_output(RESULTS) else None


@dataclass(frozen=True)
class Plan:
    """A run: its nodes in the order in which they run."""

    name: str
    nodes: tuple[Node, ...]
    gates: tuple[Mapping[str, Any], ...] = ()
    """The recipe's gates, checked after the evaluations that they hold for."""
    evaluate: Mapping[str, Any] = field(default_factory=dict)
    """How `uphill eval` evaluates a checkpoint of this run: `seed` and `rollouts`."""
    runtime: Mapping[str, Any] = field(default_factory=dict)
    """The recipe's `runtime`; not part of any fingerprint."""
    budget: Mapping[str, Any] = field(default_factory=dict)
    """`hours` and `tokens`; not part of any fingerprint."""
    preflight: Node | None = None
    """The early check. No node reads its output, so it is not among `nodes`."""

    def __getitem__(self, name: str) -> Node:
        for node in self.nodes:
            if node.id == name:
                return node
        raise BadInput(
            f"{self.name} has no stage {name!r}", nearest(name, [node.id for node in self.nodes])
        )

    def downstream(self, name: str) -> Iterator[Node]:
        """The nodes that depend on `name`, directly or not, in order and without `name`."""
        reached = {name}
        for node in self.nodes:
            if reached & set(node.inputs.values()):
                reached.add(node.id)
                yield node


def make_node(
    config: StageConfig,
    seed: int,
    earlier: Mapping[str, Node] | None,
    place: str,
    *,
    execution: ExecutionConfig | None = None,
    module: str | None = None,
    read: ReadChecksum = checksum,
) -> Node:
    """The node of one stage config. `earlier` holds the nodes before it; None if its inputs are not
    nodes of a plan."""
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
        produces=tuple(artifact.name for artifact in config.outputs() or ()),
        weight_inputs=config.weight_inputs(),
        execution=(execution or ExecutionConfig()).part(config.execution_settings()),
        adopts=adopted[0] if adopted else "",
    )


def build_plan(recipe: Recipe, read: ReadChecksum = checksum) -> Plan:
    """The plan of a validated recipe. `read` returns the checksum of a user's file; nothing else is
    read."""
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
    gates = evaluate.gates if evaluate else ()
    return Plan(
        name=recipe.name,
        nodes=tuple(nodes.values()),
        gates=tuple(gate.model_dump(mode="json") for gate in gates),
        evaluate={"seed": derive(recipe.seed, EVALUATION_SEED), "rollouts": rollouts},
        runtime=recipe.runtime.model_dump(mode="json"),
        budget=recipe.budget.model_dump(mode="json"),
        preflight=_preflight(recipe, nodes),
    )


def _preflight(recipe: Recipe, nodes: Mapping[str, Node]) -> Node:
    """The early check's node. Its identity contains the fingerprints of all nodes, so that it runs
    again when anything in the recipe or the user's files changes."""
    node = make_node(early_check(recipe), 0, nodes, "preflight")
    fingerprints = {other.id: other.fingerprint for other in nodes.values()}
    identity = {**node.identity, "nodes": fingerprints}
    return replace(node, identity=identity, fingerprint=fingerprint(identity))


def chosen(plan: Plan, only: str | None, until: str | None) -> Sequence[Node]:
    """The nodes that `--stage` or `--until` selects, in order."""
    if only is not None and until is not None:
        raise BadInput("--stage and --until exclude each other", "give one of them")
    if only is not None:
        return (plan[only],)
    if until is not None:
        return plan.nodes[: plan.nodes.index(plan[until]) + 1]
    return plan.nodes


def folder_of(node: Node, run: Path) -> Path:
    """The node's finished folder, which need not exist.

    An existing folder `<NN>-<id>` is used whatever its number, which differs if the recipe had
    other stages before."""
    if node.place.startswith(f"{EVALUATIONS}/"):
        return run / node.place
    pattern = re.compile(rf"\d+-{re.escape(node.id)}(\.partial)?")
    folders = sorted(path for path in run.glob("*") if pattern.fullmatch(path.name))
    finished = [path for path in folders if path.suffix != ".partial"]
    if finished:
        return finished[0]
    return folders[0].with_suffix("") if folders else run / node.place
