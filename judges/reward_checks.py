"""What the verifiers that ask a judge have in common."""

import os

from common.errors import BadInput
from judges.backend import Choice
from models.context import context_in
from models.sizes import dense_dimensions
from prompts.judge_parts import JudgePart
from prompts.schema import Prompt
from rewards.interface import BadPrompt
from rollouts.heads import head_sizes


def require_judge(part: JudgePart) -> None:
    """Raise BadInput where the judge of a part cannot be asked, as far as is known before it is
    started."""
    if part.api_key_env is not None and not os.environ.get(part.api_key_env):
        raise BadInput(
            f"{part.label}.api_key_env names {part.api_key_env}, which is not set",
            f"export {part.api_key_env} or leave it out",
        )
    if part.model is not None and (found := _engine_problem(part.model, part.max_model_len)):
        raise BadInput(f"{part.label}.{found[0]}", found[1])


def check_reference(prompt: Prompt, part: JudgePart) -> None:
    """Raise BadPrompt where the judge would see a reference answer that is not there."""
    if part.show_reference and not prompt.answer.strip():
        raise BadPrompt(
            f"has no reference answer, and {part.label} has show_reference: true",
            "give it an `answer`, or set show_reference: false",
        )


def _engine_problem(model: str, length: int) -> tuple[str, str] | None:
    """Why vLLM would not start for a judge, and what to do; None if nothing speaks against it."""
    context, dimensions, sizes = context_in(model), dense_dimensions(model), head_sizes()
    if context is not None and length > context:
        message = f"max_model_len is {length}, longer than the model's context of {context} tokens"
        return message, f"use at most {context}"
    if sizes and dimensions is not None and dimensions.head_dim not in sizes:
        known = ", ".join(map(str, sizes))
        message = f"model has attention heads of {dimensions.head_dim}, and vLLM supports {known}"
        return f"{message} on a CPU", "take another judge, or run it elsewhere and give its `url`"
    return None


def reference_part(name: str, prompt: Prompt, part: JudgePart) -> tuple[str, dict[str, str]]:
    """The name of the question's template, and the reference answer where the judge sees it. Raises
    BadPrompt where it is missing."""
    check_reference(prompt, part)
    if not part.show_reference:
        return name, {}
    return f"{name}_with_reference", {"reference": prompt.answer}


def fault_of(choice: Choice) -> str:
    """The fault of an answer about which the judge gave no reply. Its own name keeps it apart from
    faults of the answer: a judge's reply that is cut off says nothing of the answer's length."""
    return f"judge_{choice.fault}"
