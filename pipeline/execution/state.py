"""How far a run is: for every node, whether its finished folder is the one that the plan asks for.

`done`: finished under the same identity, from the inputs that are there now. `stale`: finished, but
the recipe now says something else (`changes`) or an input was made again since (`remade`). A stale
stage is never used and never overwritten unasked: `--redo` does that. A changed record of an
unfinished stage needs no asking: nothing is lost."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from common.errors import BadInput
from common.files import read_json
from common.fingerprint import differences
from pipeline.planning.plan import Node, Plan, folder_of
from pipeline.store.lock import Owner, owner_of
from pipeline.store.record import ATTEMPT, FAILURE, read_record, record_checksum

StageState = Literal["todo", "running", "done", "stale", "failed"]


@dataclass(frozen=True)
class NodeState:
    """One node as it is on disk."""

    state: StageState
    folder: Path
    """The finished folder, which need not exist."""
    record: Mapping[str, Any] | None = None
    """The record of a finished folder."""
    changes: tuple[tuple[str, Any, Any], ...] = ()
    """Fields in which a finished folder differs from the plan: (name, old, new)."""
    remade: tuple[str, ...] = ()
    """Ids of the inputs that are not those a finished folder was made from."""

    @property
    def partial(self) -> Path:
        return partial_of(self.folder)


def partial_of(folder: Path) -> Path:
    """Where a stage works before its folder gets its final name."""
    return folder.with_name(f"{folder.name}.partial")


def inspect(plan: Plan, run: Path) -> dict[str, NodeState]:
    """The state of every node, by id."""
    states: dict[str, NodeState] = {}
    owner = owner_of(run)
    for node in plan.nodes:
        states[node.id] = _state(node, folder_of(node, run), states, owner)
    return states


def input_records(node: Node, states: Mapping[str, NodeState]) -> dict[str, dict[str, str]]:
    """For every input of `node` that is done: its stage, fingerprint and record's checksum."""
    found = {}
    for name, stage in node.inputs.items():
        state = states[stage]
        if state.state == "done" and state.record is not None:
            fingerprint, record = state.record["fingerprint"], record_checksum(state.folder)
            found[name] = {"stage": stage, "fingerprint": fingerprint, "record": record}
    return found


def _state(
    node: Node, folder: Path, states: Mapping[str, NodeState], owner: Owner | None
) -> NodeState:
    if not folder.exists():
        return NodeState(_unfinished(partial_of(folder), owner), folder)
    record = read_record(folder)
    if record is None:
        raise BadInput(
            f"{folder}: has no record.json, so it is no finished stage", "move the folder away"
        )
    changes = tuple(_changes(record, node))
    now = input_records(node, states)
    remade = {node.inputs.get(name, "?") for name in {*record["inputs"], *node.inputs}
              if record["inputs"].get(name) != now.get(name)}  # fmt: skip
    state: StageState = "stale" if changes or remade else "done"
    return NodeState(state, folder, record, changes, tuple(sorted(remade)))


def _changes(record: Mapping[str, Any], node: Node) -> Iterator[tuple[str, Any, Any]]:
    """The fields in which a finished stage differs from the plan. An identity leaves defaults out;
    they are shown as the configs have them."""
    for name, old, new in differences(record["identity"], dict(node.identity)):
        before = _written(record["config"], name) if old is None else old
        yield name, before, _written(node.config, name) if new is None else new


def _written(config: Any, name: str) -> Any:
    """The value in a whole config at the dotted path of an identity; None where there is none."""
    for part in re.findall(r"[^.\[\]]+", name.removeprefix("config.")):
        try:
            config = config[int(part)] if isinstance(config, list) else config[part]
        except (KeyError, IndexError, TypeError, ValueError):
            return None
    return config


def why_stale(state: NodeState) -> str:
    """What a finished folder does not agree with."""
    if state.changes:
        fields = [
            f"{name.removeprefix('config.')} was {old!r} and is now {new!r}"
            for name, old, new in state.changes
        ]
        return f"was run with other settings: {'; '.join(fields)}"
    return f"was made from another run of {', '.join(state.remade)}"


def _unfinished(partial: Path, owner: Owner | None) -> StageState:
    attempt = read_small(partial / ATTEMPT)
    if attempt is not None and owner is not None and attempt.get("runner") == owner.pid:
        return "running"
    return "failed" if read_small(partial / FAILURE) is not None else "todo"


def read_small(path: Path) -> dict[str, Any] | None:
    """A small JSON file that another process may be replacing or removing."""
    try:
        value = read_json(path)
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
