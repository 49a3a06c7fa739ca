"""`uphill report`: hands a run's stages to the report, and writes its page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import BadInput
from common.files import write_text
from pipeline.cli.compare import evaluations_of
from pipeline.cli.status import note_on
from pipeline.execution.faults import DISK
from pipeline.execution.gates import all_verdicts, inputs_of
from pipeline.execution.run_folder import load_plan
from pipeline.execution.state import NodeState, inspect
from pipeline.planning.plan import Node
from pipeline.store.adopted import origin_of
from pipeline.store.record import pruned_files, record_checksum

if TYPE_CHECKING:
    from report.source import RunSource, StageSource

PAGE = "report.html"
"""The page's name in a run folder. `verify` looks at the folders of stages, so it may lie there."""


def document_of(runs: Sequence[Path], price_per_hour: float | None) -> dict[str, Any]:
    """The document of `report --json`. BadInput where a file of a run is damaged."""
    from report.document import gather

    return gather([_source(run) for run in runs], price_per_hour)


def write_report(document: dict[str, Any], target: Path) -> Path:
    """Write the page, replacing an older one. BadInput if it cannot be there."""
    from report.page import render

    remedy = "give --out a file in a folder that exists and that you may write to"
    if not target.parent.is_dir() or target.is_dir():
        raise BadInput(f"{target}: cannot be written", remedy)
    page = render(document)
    try:
        write_text(target, page)
    except OSError as error:
        if error.errno in DISK:
            raise
        raise BadInput(f"{target}: cannot be written: {error.strerror}", remedy) from None
    return target


def default_target(runs: Sequence[Path]) -> Path:
    """In the run's folder; for several runs in the current one."""
    return runs[0] / PAGE if len(runs) == 1 else Path(PAGE)


def _source(run: Path) -> "RunSource":
    from report.source import RunSource

    plan = load_plan(run)
    states = inspect(plan, run)
    stages = [_stage(node, states) for node in plan.nodes]
    name = run.resolve().name
    verdicts = [one.to_json() for one in all_verdicts(plan, states)]
    return RunSource(name, stages, evaluations_of(plan, states), verdicts)


def _stage(node: Node, states: Mapping[str, NodeState]) -> "StageSource":
    from report.source import StageSource

    state = states[node.id]
    record = state.record
    return StageSource(
        id=node.id,
        kind=node.kind,
        state=state.state,
        folder=state.partial if record is None else state.folder,
        config=node.config,
        record=record,
        note=note_on(state),
        inputs=inputs_of(node, states),
        evaluated=node.evaluated,
        adopted=origin_of(record) if record else None,
        pruned=bool(record and pruned_files(state.folder)),
        checksum=record_checksum(state.folder) if record else None,
    )
