"""What the verifiers that ask a judge have in common."""

import os

from common.errors import BadInput
from judges.backend import Choice
from models.context import context_in
from prompts.parts import JudgePart
from prompts.schema import Prompt


def check_judge(prompt: Prompt, part: JudgePart) -> None:
    """Raise BadInput where the judge of a part cannot be asked about a prompt, as far as is known
    before it is started."""
    if part.api_key_env is not None and not os.environ.get(part.api_key_env):
        raise BadInput(
            f"{part.label}.api_key_env names {part.api_key_env}, which is not set",
            f"export {part.api_key_env} or leave it out",
        )
    context = context_in(part.model) if part.model is not None else None
    if context is not None and part.max_model_len > context:
        raise BadInput(
            f"{part.label}.max_model_len is {part.max_model_len}, longer than the context of"
            f" {context} tokens of its model",
            f"use at most {context}",
        )
    if part.show_reference and not prompt.answer.strip():
        raise BadInput(
            f"{part.label} has show_reference: true, and the prompt has no reference answer",
            "give it an `answer`, or set show_reference: false",
        )


def reference_part(name: str, prompt: Prompt, part: JudgePart) -> tuple[str, dict[str, str]]:
    """The name of the question's template, and the reference answer where the judge sees it."""
    if not part.show_reference:
        return name, {}
    return f"{name}_with_reference", {"reference": prompt.answer}


def fault_of(choice: Choice) -> str:
    """The fault of an answer about which the judge gave no reply. Its own name keeps it apart from
    faults of the answer: a judge's reply that is cut off says nothing of the answer's length."""
    return f"judge_{choice.fault}"
