"""`uphill samples`: what the policy of a stage wrote, with prompts, rewards and faults. Reads only
the run folder, also that of a stage that is running."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from common.artifacts import ANSWERS, GROUPS, PAIRS, Artifact
from common.errors import BadInput
from evals.config import SuiteConfig
from pipeline.cli.output import print_text
from pipeline.execution.run_folder import find_stage, load_plan
from pipeline.execution.state import NodeState, inspect
from pipeline.planning.plan import Node, Plan
from stages.declaration import PROMPTS_STAGE

KINDS: tuple[tuple[Artifact, str], ...] = (
    (GROUPS, "rollouts"),
    (PAIRS, "pairs"),
    (ANSWERS, "answers"),
)
"""What a stage can have to show."""
LINE = "-" * 72
MARK = "  | "
"""Begins each line of a text, so that no text can pass for a line of ours."""
EVERYTHING = 2_000
"""Characters of a prompt or a reply that are shown."""

States = Mapping[str, NodeState]


def samples_of(
    name: str, runs_dir: Path, step: int | None, limit: int, wrong: bool
) -> dict[str, Any]:
    """The document of `samples --json` for `RUN[:STAGE]`: by default of the last stage that has
    anything. BadInput, with what there is, where there is nothing."""
    run, stage = find_stage(name, runs_dir)
    plan = load_plan(run)
    states = inspect(plan, run)
    node, artifact, kind = _chosen(name, plan, states, stage)
    if step is not None and artifact is not GROUPS:
        raise BadInput(f"{node.id} has {kind}, which have no steps", "leave --step out")
    if wrong and artifact is PAIRS:
        raise BadInput(f"{node.id} has pairs, each with a rejected answer", "leave --wrong out")
    found = _read(node, artifact, states, step, limit, wrong)
    head = {"run": plan.name, "stage": node.id, "state": states[node.id].state, "kind": kind}
    return {**head, "wrong_only": wrong, **found}


def _chosen(name: str, plan: Plan, states: States, stage: str | None) -> tuple[Node, Artifact, str]:
    """The node to show, and what of it: of a stage with neither rollouts nor pairs its
    evaluation."""
    there = list(_there(plan, states))
    if stage is None:
        wanted = there[-1:]
    else:
        own = plan[stage].id
        wanted = [one for one in there if one[0].id == own]
        wanted = wanted or [one for one in there if one[0].evaluated == own]
    if not wanted:
        stages = ", ".join(f"{node.id} ({kind})" for node, _, kind in there)
        raise BadInput(
            f"{name}: there are no samples yet",
            f"stages of this run with samples: {stages}" if there else "run the recipe first",
        )
    return wanted[0]


def _there(plan: Plan, states: States) -> Iterator[tuple[Node, Artifact, str]]:
    """All that can be shown: by stage the first kind that it has."""
    for node in plan.nodes:
        for artifact, kind in KINDS:
            path = artifact.path(folder_now(states[node.id]))
            if node.has_output(artifact) and path.is_file() and path.stat().st_size:
                yield node, artifact, kind
                break


def folder_now(state: NodeState) -> Path:
    """The folder in which a stage's files are: the finished one, or else the one it works in."""
    return state.folder if state.record is not None else state.partial


def _read(
    node: Node, artifact: Artifact, states: States, step: int | None, limit: int, wrong: bool
) -> dict[str, Any]:
    from evals import samples

    folder = folder_now(states[node.id])
    inputs = [states[stage].folder for stage in dict.fromkeys(node.inputs.values())]
    if artifact is GROUPS:
        prompts = samples.prompts_file(folder, *inputs)
        pass_at = node.config.get("pass_at", 1.0)
        return samples.rollouts(folder, prompts, step, pass_at, wrong, limit)
    if artifact is PAIRS:
        return samples.pairs(folder, [samples.prompts_file(one) for one in inputs], limit)
    done = states[PROMPTS_STAGE].state == "done"
    suites = [SuiteConfig.model_validate(one) for one in node.config["suites"]]
    gathered = states[PROMPTS_STAGE].folder if done else None
    return samples.answers(folder, suites, gathered, wrong, limit)


def show(document: Mapping[str, Any]) -> None:
    """Print the samples."""
    what = f", step {document['step']} of {document['last_step']}" if "step" in document else ""
    only = ", the wrong ones" if document["wrong_only"] else ""
    print_text(
        f"{document['run']}:{document['stage']} ({document['state']}){what}:"
        f" {document['prompts']:,} prompts, {document['replies']:,} {_noun(document['kind'])};"
        f" shown are {len(document['samples'])} prompts{only}"
    )
    for sample in document["samples"]:
        print_text(LINE)
        for line in sample_lines(sample):
            print_text(line)


def _noun(kind: str) -> str:
    return "answers in pairs" if kind == "pairs" else kind


def sample_lines(sample: Mapping[str, Any]) -> Iterator[str]:
    """A prompt with its replies, as texts of one or more lines."""
    where = ", ".join(str(sample[name]) for name in ("suite", "capability") if sample.get(name))
    yield f"{where}: {sample['id']}{' (probe)' if sample.get('probe') else ''}"
    if sample["prompt"] is None:
        yield "its prompt is in no file of the run"
    for message in sample["prompt"] or ():
        yield f"{message['role']}:\n{quoted(message['content'])}"
    if sample.get("reference"):
        yield f"reference:\n{quoted(sample['reference'])}"
    for reply in sample["replies"]:
        yield f"{reply_facts(reply)}:\n{quoted(reply['text'])}"


def reply_facts(reply: Mapping[str, Any]) -> str:
    """What is known of a reply, on one line."""
    facts = [str(reply["is"])] if "is" in reply else []
    if reply.get("fault"):
        facts.append(f"fault {reply['fault']}")
    elif "reward" in reply:
        facts.append(f"reward {reply['reward']:g}{_parts(reply.get('parts') or {})}")
    facts += [f"{reply['tokens']} tokens"] if reply.get("tokens") is not None else []
    facts += [f"ended by {reply['finish']}"] if reply.get("finish") else []
    facts += [f"shows {reply['finding']}"] if reply.get("finding") else []
    facts += [f"read {reply['read']!r:.80}"] if reply.get("read") is not None else []
    return "reply, " + ", ".join(facts) if facts else "reply"


def _parts(parts: Mapping[str, float]) -> str:
    return f" ({', '.join(f'{name} {value:g}' for name, value in parts.items())})" if parts else ""


def quoted(text: str, longest: int = EVERYTHING) -> str:
    """A text whose lines are marked; of a longer one the beginning, and how much is left out."""
    lines: Sequence[str] = text[:longest].split("\n")
    marked = "\n".join(f"{MARK}{line}" for line in lines)
    left = len(text) - longest
    return f"{marked}\n  ({left:,} more characters)" if left > 0 else marked
