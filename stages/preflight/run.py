"""Check model, template and prompts for problems that would otherwise end a run after expensive
work.

Reads the gathered prompts and tokenizers, no weights. All problems come in one BadInput. What only
costs some prompts is a note."""

from common.artifacts import PREFLIGHT
from common.errors import BadInput
from common.stage import Inputs, Outputs, StageContext
from stages.preflight.checks import Preflight
from stages.preflight.config import PreflightStage


def run(config: PreflightStage, inputs: Inputs, context: StageContext) -> Outputs:
    """Write `preflight.json`: for each check the number of chats, the longest in tokens, and the
    room."""
    check = Preflight(config, inputs["prompts"])
    for number, ask in enumerate(config.questions_asked, start=1):
        check.ask(ask)
        context.progress(number, len(config.questions_asked), unit="question")
    if check.problems:
        lines = [f"{problem.place}: {problem.message}" for problem in check.problems]
        remedies = dict.fromkeys(problem.remedy for problem in check.problems)
        raise BadInput("\n".join(lines), "; ".join(remedies))
    for note in check.notes:
        context.note(note)
    PREFLIGHT.write(context.folder, {"asked": check.rows, "notes": check.notes})
    return Outputs(
        metrics={"chats": sum(row["chats"] for row in check.rows), "notes": len(check.notes)}
    )
