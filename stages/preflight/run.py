"""Ask everything about model, template and prompts that would otherwise end a run after it has cost
something.

Reads the gathered prompts and tokenizers, no weights. All that is wrong comes in one BadInput; what
only costs some prompts is told as a note."""

from common.errors import BadInput
from common.files import write_json
from common.stage import Inputs, Outputs, StageContext
from stages.preflight.asking import Preflight
from stages.preflight.config import PreflightStage


def run(config: PreflightStage, inputs: Inputs, context: StageContext) -> Outputs:
    """Write `preflight.json`: what was asked of how many prompts, the longest of them, and the room
    that it has."""
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
    write_json(context.folder / "preflight.json", {"asked": check.rows, "notes": check.notes})
    return Outputs(
        metrics={"chats": sum(row["chats"] for row in check.rows), "notes": len(check.notes)}
    )
