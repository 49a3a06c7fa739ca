"""What a person's sources give: prompts as the model will see them, what their verifiers read, and
the rows that cannot be used. Loads the tokenizer and nothing else of the model."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from common.errors import BadInput
from models.chat import encode_chat
from models.config import ModelConfig
from models.origin import tokenizer_of
from prompts.bad_rows import BadRows
from prompts.config import PromptSource, ReasoningGymSource
from prompts.reasoning_gym_source import load
from prompts.rows import read
from prompts.schema import Prompt
from prompts.split import held_out_ids
from rewards.grade import check_prompt
from rewards.interface import Answer, Resources
from rewards.kinds import kind_of
from stages.grading import ALL

SCANNED = 5_000
"""Prompts of a source that are examined. Of a longer one it is not known which are held out."""


@dataclass(frozen=True)
class Seen:
    """A prompt as the model sees it."""

    text: str
    """With its special tokens."""
    tokens: int
    as_text: tuple[str, ...] = ()
    """Special tokens that the messages spell; they stay text."""


Tokenize = Callable[[Prompt], Seen]


def preview(
    sources: Sequence[PromptSource], model: ModelConfig, seed: int, limit: int
) -> list[dict[str, Any]]:
    """One document per source with its first `limit` prompts and its bad rows. `seed` is that of
    the `prompts` stage. Raises BadInput if a source cannot be read at all."""
    tokenizer = tokenizer_of(model)

    words = {str(token) for token in tokenizer.added_tokens_decoder.values()}

    def tokenize(prompt: Prompt) -> Seen:
        ids = encode_chat(tokenizer, prompt.messages)
        spelt = {w for w in words for message in prompt.messages if w in message["content"]}
        text = str(tokenizer.decode(ids, skip_special_tokens=False))
        return Seen(text, len(ids), tuple(sorted(spelt)))

    return [_source(source, tokenize, seed, limit) for source in sources]


def _source(source: PromptSource, tokenize: Tokenize, seed: int, limit: int) -> dict[str, Any]:
    bad: list[dict[str, Any]] = []
    bad_rows = BadRows(lambda row: bad.append(row) if len(bad) < limit else None)
    waiting = _prompts(source, bad_rows)
    prompts = list(islice(waiting, SCANNED))
    whole = next(waiting, None) is None
    problems = [_problem(source, prompt, tokenize) for prompt in prompts]
    usable = [p for p, problem in zip(prompts, problems, strict=True) if not problem]
    held = held_out_ids(usable, source.held_out, seed) if whole else None
    return {
        "source": source.source,
        "path": source.family if isinstance(source, ReasoningGymSource) else source.described,
        "examined": len(prompts),
        "usable": len(usable),
        "whole": whole,
        "held_out": source.held_out,
        "max_prompt_tokens": source.max_prompt_tokens,
        "prompts": [
            _prompt(prompt, tokenize, held, problem)
            for prompt, problem in zip(prompts[:limit], problems, strict=False)
        ],
        "on_bad_row": "stop" if isinstance(source, ReasoningGymSource) else source.on_bad_row,
        "bad_rows": sum(bad_rows.counts.values()),
        "bad": [{"place": row["place"], "message": row["message"]} for row in bad],
    }


def _prompts(source: PromptSource, bad_rows: BadRows) -> Iterator[Prompt]:
    """The prompts one by one; bad rows are collected whatever the source does with them."""
    if isinstance(source, ReasoningGymSource):
        few = source.model_copy(update={"count": min(source.count, SCANNED + 1)})
        return iter(load(few))
    return read(source.model_copy(update={"on_bad_row": "skip"}), bad_rows)


def _problem(source: PromptSource, prompt: Prompt, tokenize: Tokenize) -> str:
    """Why the stage cannot use a prompt; empty if it can."""
    from jinja2.exceptions import TemplateError

    longest = source.max_prompt_tokens
    try:
        check_prompt(prompt, ALL)
        if longest is not None and (tokens := tokenize(prompt).tokens) > longest:
            return f"has {tokens} tokens, more than max_prompt_tokens {longest}: it is dropped"
    except TemplateError as error:
        return f"the chat template of the model refuses it: {error}"
    except BadInput as error:
        return str(error)
    return ""


def _prompt(
    prompt: Prompt, tokenize: Tokenize, held: set[str] | None, problem: str
) -> dict[str, Any]:
    from jinja2.exceptions import TemplateError

    try:
        seen = tokenize(prompt)
    except TemplateError as error:
        seen, problem = Seen("", 0), f"the chat template of the model refuses it: {error}"
    return {
        "id": prompt.id,
        "place": prompt.place,
        "text": seen.text,
        "as_text": list(seen.as_text),
        "tokens": seen.tokens,
        "capability": prompt.capability,
        "held_out": None if held is None or problem else prompt.id in held,
        "answer": prompt.answer,
        "solution": prompt.solution,
        "metadata": prompt.metadata,
        "rewards": _rewards(prompt, read=not problem),
        "problem": problem or None,
    }


def _rewards(prompt: Prompt, *, read: bool) -> list[dict[str, Any]]:
    """The parts of the reward, each with what its verifier reads in the reference answer, if it is
    to be read: None for verifiers that would have to be started, where there is no answer, and for
    a demonstration, which has no verifier. Empty for parts that lack settings."""
    try:
        parts = prompt.parts
    except BadInput:
        return []
    answered = read and bool(prompt.answer.strip()) and not prompt.is_demonstration
    rows = []
    for part in parts:
        found = None
        if answered and not kind_of(part.verifier, ALL).slow:
            opened = kind_of(part.verifier, ALL).open(part, Resources())
            (result,) = opened.grade(prompt, [Answer(prompt.answer)])
            found = result.read
            opened.close()
        settings = {"name": part.label, "weight": part.weight, **part.stored()}
        rows.append({**settings, "reads": found})
    return rows
