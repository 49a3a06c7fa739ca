"""Gather prompts, refuse those that could not be graded, split off the held-out ones, and drop
those that overlap evaluation suites."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial

from common.artifacts import BAD_ROWS, CONTAMINATED, HELD_OUT, PROMPTS, REPEATED, TOO_LONG
from common.errors import BadInput
from common.stage import Inputs, Outputs, StageContext
from evals.guarded import packaged_texts
from models.config import ModelConfig
from prompts.bad_rows import BadRows
from prompts.config import PromptSource, ReasoningGymSource
from prompts.decontaminate import Overlap, decontaminate
from prompts.records import require_rows
from prompts.repeats import contradictions
from prompts.room import TooLong, drop_too_long
from prompts.schema import Prompt, write_prompts
from prompts.sources import load_source
from prompts.split import split
from rewards.grade import check_prompt
from rewards.grader import Grader, first_part
from rewards.kinds import kind_of
from stages.grading import ALL, open_grader
from stages.prompts.config import PromptsStage
from stages.prompts.summary import metrics_of, note_dropped

SHOWN = 5
"""Prompts with a wrong reference that a message names."""


def run(config: PromptsStage, inputs: Inputs, context: StageContext) -> Outputs:
    """Write `prompts.parquet` (training) and `held_out.parquet`, which share no id and no text.

    What is left out is listed with the reason: `bad_rows.jsonl`, `too_long.jsonl`, `repeated.jsonl`
    (which also lists prompts that contradict another one), `contaminated.jsonl` (training prompts
    that overlap a packaged suite)."""
    if not config.sources:
        raise BadInput("prompts: the recipe names no source", "add one under `prompts`")
    BAD_ROWS.write(context.folder, [])
    bad_rows = BadRows(partial(BAD_ROWS.append, context.folder))
    loaded, too_long = _load(config, context, bad_rows)
    result, evaluation = split(loaded, context.seed), packaged_texts()
    kept, findings = decontaminate(result.training, evaluation)
    _refuse_emptied([prompts for prompts, _ in loaded], kept, findings)
    with open_grader(context) as grader:
        contradicting = contradictions([*kept, *result.held_out], partial(_accepts, grader))
    result = replace(result, training=kept)
    for sentence in bad_rows.notes():
        context.note(sentence)
    note_dropped(result, too_long, findings, contradicting, context.note)
    write_prompts(PROMPTS.path(context.folder), result.training)
    write_prompts(HELD_OUT.path(context.folder), result.held_out)
    TOO_LONG.write(context.folder, map(asdict, too_long))
    REPEATED.write(context.folder, map(asdict, [*result.repeats, *contradicting]))
    CONTAMINATED.write(context.folder, map(asdict, findings))
    metrics = metrics_of(result, too_long, findings, contradicting, evaluation)
    return Outputs(metrics=metrics | bad_rows.metrics())


def _load(
    config: PromptsStage, context: StageContext, bad_rows: BadRows
) -> tuple[list[tuple[list[Prompt], float]], list[TooLong]]:
    """For each source the prompts that can be graded and are short enough, with the share to hold
    out; and the prompts that are too long."""
    length = None if config.tokenizer is None else _length(config.tokenizer)
    loaded: list[tuple[list[Prompt], float]] = []
    too_long: list[TooLong] = []
    for number, source in enumerate(config.sources):
        prompts = _gradable(source, load_source(source, bad_rows), bad_rows)
        if source.max_prompt_tokens is not None:
            assert length is not None
            prompts, dropped = drop_too_long(prompts, source.max_prompt_tokens, length)
            too_long += dropped
        loaded.append((prompts, source.held_out))
        context.progress(
            number + 1,
            len(config.sources),
            unit="source",
            prompts=sum(len(part) for part, _ in loaded),
        )
    return loaded, too_long


def _length(model: ModelConfig) -> Callable[[Prompt], int]:
    """A function that counts the tokens of a prompt as the engine gets it, with the tokenizer of
    `model`."""
    from jinja2.exceptions import TemplateError

    from models.chat import encode_chat
    from models.origin import tokenizer_of

    tokenizer = tokenizer_of(model)

    def length(prompt: Prompt) -> int:
        try:
            return len(encode_chat(tokenizer, prompt.messages))
        except TemplateError as error:
            message = f"{prompt.named}: the chat template of the model refuses it: {error}"
            raise BadInput(
                message, "correct the template, or change the prompt's messages"
            ) from error

    return length


def _gradable(source: PromptSource, prompts: list[Prompt], bad_rows: BadRows) -> list[Prompt]:
    """The prompts whose verifiers accept their own references. The others are bad rows."""
    if isinstance(source, ReasoningGymSource) or source.on_bad_row == "stop":
        _check(prompts)
        return prompts
    kept = []
    for prompt in prompts:
        try:
            check_prompt(prompt, ALL)
        except BadInput as error:
            row = {"messages": prompt.messages, "answer": prompt.answer}
            bad_rows.meet(source, prompt.place, row, error, "reference refused")
        else:
            kept.append(prompt)
    require_rows(source, len(kept), bad_rows)
    return kept


def _check(prompts: Sequence[Prompt]) -> None:
    """Raise BadInput naming the first prompts whose verifier rejects their own reference answer."""
    refused: list[BadInput] = []
    for prompt in prompts:
        try:
            check_prompt(prompt, ALL)
        except BadInput as error:
            refused.append(error)
    if refused:
        more = [f"and {len(refused) - SHOWN} more such prompts"] if len(refused) > SHOWN else []
        messages = [error.message for error in refused[:SHOWN]]
        raise BadInput(
            "\n".join([*messages, *more]),
            "; ".join(dict.fromkeys(error.remedy for error in refused[:SHOWN])),
        )


def _accepts(grader: Grader, prompt: Prompt, answer: str) -> bool:
    """Whether the prompt's verifier accepts the answer. A fault of the verifier counts as accepted,
    and so does the answer to a slow one: gathering prompts starts no model and runs no code. A
    demonstration may have many good answers, and an answer that is missing contradicts none."""
    if not answer.strip() or prompt.is_demonstration or kind_of(prompt.verifier, ALL).slow:
        return True
    graded = grader(first_part(prompt), answer)
    return graded.correct or graded.fault is not None


def _refuse_emptied(
    sources: Sequence[Sequence[Prompt]], kept: Sequence[Prompt], findings: Sequence[Overlap]
) -> None:
    """Raise BadInput if all training prompts of a source were dropped as overlaps."""
    left = {prompt.id for prompt in kept}
    by_id = {finding.id: finding for finding in findings}
    for number, prompts in enumerate(sources):
        ids = list(dict.fromkeys(prompt.id for prompt in prompts))
        dropped = [by_id[name] for name in ids if name in by_id]
        if dropped and left.isdisjoint(ids):
            first = dropped[0]
            raise BadInput(
                f"prompts[{number}] ({first.source}): none of its {len(dropped)} training prompts"
                f" is left, because all overlap evaluation suites: {first.id} ({first.place}) has"
                f" {first.text!r:.80} of {first.matched} ({first.suite})",
                "remove the source, or add prompts that no test set has",
            )
