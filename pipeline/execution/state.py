"""The state of a run on disk: for every node, whether its finished folder fits the plan.

`done`: finished with the same identity and from the present inputs. `stale`: finished, but the
recipe has changed (`changes`) or an input ran again since (`remade`). A stale stage is never used,
and only overwritten with `--redo`. An unfinished stage may be overwritten: nothing is lost."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from common.errors import BadInput
from common.files import read_json
from common.fingerprint import differences
from pipeline.execution.gates import goes_back_to, inputs_of
from pipeline.planning.plan import Node, Plan, folder_of
from pipeline.store.lock import Owner, owner_of
from pipeline.store.record import ATTEMPT, FAILURE, read_record, record_checksum

VERSION = "version"
"""The field of an identity that says which version of its kind made a stage."""
StageState = Literal["todo", "running", "done", "stale", "failed"]


@dataclass(frozen=True)
class NodeState:
    """The state of one node on disk."""

    state: StageState
    folder: Path
    """The finished folder, which need not exist."""
    record: Mapping[str, Any] | None = None
    """The record of a finished folder."""
    changes: tuple[tuple[str, Any, Any], ...] = ()
    """Fields in which a finished stage differs from the plan: (name, old, new)."""
    remade: tuple[str, ...] = ()
    """Ids of the inputs that ran again since the stage was finished."""
    moved: tuple[tuple[str, str], ...] = ()
    """Where a gate decides otherwise now: (stage that it was made from, the one that it is to be
    made from)."""
    instead: str | None = None
    """The stage from whose checkpoint later ones go on, where a gate refused that of this one."""

    @property
    def partial(self) -> Path:
        return partial_of(self.folder)


def partial_of(folder: Path) -> Path:
    """The working folder of a stage; it gets its final name when the stage is finished."""
    return folder.with_name(f"{folder.name}.partial")


def inspect(plan: Plan, run: Path) -> dict[str, NodeState]:
    """The state of every node, by id."""
    states: dict[str, NodeState] = {}
    owner = owner_of(run)
    for node in plan.nodes:
        states[node.id] = _state(node, folder_of(node, run), states, owner)
        if node.evaluated and states[node.id].state == "done":
            back = goes_back_to(plan, states, node)
            states[node.evaluated] = replace(states[node.evaluated], instead=back)
    return states


def input_records(node: Node, states: Mapping[str, NodeState]) -> dict[str, dict[str, str]]:
    """Input name to stage, fingerprint and record checksum, for every input that is done. Where a
    gate went back, also `instead_of`, the planned stage."""
    records = {}
    for name, stage in inputs_of(node, states).items():
        state = states[stage]
        if state.state == "done" and state.record is not None:
            fingerprint, record = state.record["fingerprint"], record_checksum(state.folder)
            records[name] = {"stage": stage, "fingerprint": fingerprint, "record": record}
            if stage != node.inputs[name]:
                records[name]["instead_of"] = node.inputs[name]
    return records


def _state(
    node: Node, folder: Path, states: Mapping[str, NodeState], owner: Owner | None
) -> NodeState:
    if not folder.exists():
        return NodeState(_unfinished(partial_of(folder), owner), folder)
    record = read_record(folder)
    if record is None:
        raise BadInput(
            f"{folder}: has no record.json, so it is not a finished stage", "move the folder away"
        )
    changes = tuple(_changes(record, node))
    now = input_records(node, states)
    names = {*record["inputs"], *node.inputs}
    other = {name for name in names if record["inputs"].get(name) != now.get(name)}
    remade = {inputs_of(node, states).get(name, "?") for name in other}
    moved = {
        (record["inputs"][name]["stage"], now[name]["stage"])
        for name in other & record["inputs"].keys() & now.keys()
        if record["inputs"][name]["stage"] != now[name]["stage"]
    }
    state: StageState = "stale" if changes or remade else "done"
    return NodeState(state, folder, record, changes, tuple(sorted(remade)), tuple(sorted(moved)))


def _changes(record: Mapping[str, Any], node: Node) -> Iterator[tuple[str, Any, Any]]:
    """The fields in which a finished stage differs from the plan. Defaults, which an identity
    leaves out, are read from the configs."""
    for name, old, new in differences(record["identity"], dict(node.identity)):
        before = _value_at(record["config"], name) if old is None else old
        yield name, before, _value_at(node.config, name) if new is None else new


def _value_at(config: Any, name: str) -> Any:
    """The value of a config at a dotted path of its identity; None if there is none."""
    for part in re.findall(r"[^.\[\]]+", name.removeprefix("config.")):
        try:
            config = config[int(part)] if isinstance(config, list) else config[part]
        except (KeyError, IndexError, TypeError, ValueError):
            return None
    return config


def why_stale(state: NodeState) -> str:
    """Why a finished stage is stale, in words."""
    if state.changes:
        return what_changed(state.changes)
    if state.moved:
        was, now = state.moved[0]
        return f"was made from {was!r}, and by the gates it is to be made from {now!r}"
    return f"was made from another run of {', '.join(state.remade)}"


def what_changed(changes: Sequence[tuple[str, Any, Any]]) -> str:
    """The fields of an identity that differ, as (name, old, new), in words. A person who changed
    nothing must not look for a setting: the kind itself is another one."""
    fields = [
        f"{name.removeprefix('config.')} was {old!r} and is now {new!r}"
        for name, old, new in changes
        if name != VERSION
    ]
    reasons = [f"was run with other settings: {'; '.join(fields)}"] if fields else []
    versions = [
        f"was made by version {old} of its kind, which is now version {new}, and has to be repeated"
        for name, old, new in changes
        if name == VERSION
    ]
    return "; and ".join([*versions, *reasons])


def _unfinished(partial: Path, owner: Owner | None) -> StageState:
    attempt = read_small(partial / ATTEMPT)
    if attempt is not None and owner is not None and attempt.get("runner") == owner.pid:
        return "running"
    return "failed" if read_small(partial / FAILURE) is not None else "todo"


def read_small(path: Path) -> dict[str, Any] | None:
    """The object in a small JSON file; None if it cannot be read, because another process may be
    replacing or removing it."""
    try:
        value = read_json(path)
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
