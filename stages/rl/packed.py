"""A group's prompt is computed once: its completions share one row, each seeing the prompt and
itself.

Prompts repeat in every member of a group, and with short answers they are most of the tokens. A row
is the prompt followed by all completions; the attention mask hides the completions from each other
and every completion's positions go on from the prompt, so that the log-probabilities are those of
separate sequences (tests/stages/test_packed.py). Attention is dense over the row: where completions
are longer than their prompt, members get rows of their own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from stages.rl.nucleus import truncated
from stages.rl.passes import Part

LONGEST_ROW = 4096
"""Tokens in a packed row; below it Llama 4's temperature tuning, which counts from the row's start,
is constant."""
HEAD_TOKENS = 1024
"""Tokens whose logits over the vocabulary are held at once."""


@dataclass(frozen=True, slots=True)
class Packed:
    """Parts of groups as rows. R rows of length L; B completions of at most C tokens, in the order
    of the parts."""

    ids: Tensor
    """Token ids (R, L), padded on the right."""
    positions: Tensor
    """Position of each token in its own sequence (R, L)."""
    owner: Tensor
    """Which completion of the row a token belongs to (R, L): 0 the prompt, -1 padding."""
    row: Tensor
    """Row of each completion (B,)."""
    source: Tensor
    """Position in the row of the token that predicts each completion token (B, C)."""

    def to(self, device: torch.device) -> "Packed":
        return Packed(*(getattr(self, field.name).to(device) for field in fields(self)))


def pack(parts: Sequence[Part], pad: int) -> Packed:
    """Lay the parts of a pass out in rows."""
    rows = [row for part in parts for row in shared_rows(part)]
    length = max(len(prompt) + sum(map(len, completions)) for prompt, completions in rows)
    width = max(len(c) for _, completions in rows for c in completions)
    ids = torch.full((len(rows), length), pad)
    positions, owner = torch.zeros_like(ids), torch.full_like(ids, -1)
    row_of, source = [], []
    for r, (prompt, completions) in enumerate(rows):
        size = end = len(prompt)
        ids[r, :size], positions[r, :size], owner[r, :size] = (
            torch.tensor(prompt),
            torch.arange(size),
            0,
        )
        for number, completion in enumerate(completions, start=1):
            count = len(completion)
            place = slice(end, end + count)
            ids[r, place], owner[r, place] = torch.tensor(completion), number
            positions[r, place] = torch.arange(size, size + count)
            # The prompt's last token predicts the first one, each token the next; padding repeats a
            # harmless 0.
            source.append([size - 1, *range(end, end + count - 1), *[0] * (width - count)])
            row_of.append(r)
            end += count
    return Packed(ids, positions, owner, torch.tensor(row_of), torch.tensor(source))


def shared_rows(part: Part) -> Iterator[tuple[list[int], list[list[int]]]]:
    """The prompt with all completions, or with each one where sharing a row would cost more than it
    saves."""
    prompt, completions = part.prompt_ids, part.completions
    tokens = sum(map(len, completions))
    if tokens <= len(completions) * len(prompt) and len(prompt) + tokens <= LONGEST_ROW:
        yield prompt, completions
    else:
        yield from ((prompt, [completion]) for completion in completions)


def attention_masks(packed: Packed, chunk: int | None) -> dict[str, Tensor]:
    """Boolean masks (R, 1, L, L) for Llama 4's full and chunked layers; True where a token may
    look."""
    length = packed.ids.shape[1]
    mine, theirs = packed.owner[:, :, None], packed.owner[:, None, :]
    causal = torch.ones(length, length, dtype=torch.bool, device=packed.ids.device).tril()
    seen = causal & ((theirs == mine) | (theirs == 0)) & (theirs >= 0) & (mine >= 0)
    # A padded token looks at itself alone: a row of the softmax must not be empty.
    seen = seen | torch.eye(length, dtype=torch.bool, device=packed.ids.device)
    near = seen
    if chunk is not None:
        block = packed.positions // chunk
        near = seen & (block[:, :, None] == block[:, None, :])
    return {"full_attention": seen[:, None], "chunked_attention": near[:, None]}


def logprobs_and_entropies(
    policy: nn.Module,
    packed: Packed,
    completion_ids: Tensor,
    temperature: float,
    top_p: float = 1.0,
    engine_logprobs: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Log-probability of each completion token (B, C), with gradient, and the entropy there,
    without.

    Both of the distribution that was sampled from; below a `top_p` of 1 the engine's
    log-probabilities (B, C) are needed (`nucleus.py`)."""
    model: Any = policy.get_base_model() if isinstance(policy, PeftModel) else policy
    masks = attention_masks(packed, model.config.attention_chunk_size)
    hidden = model.model(
        input_ids=packed.ids, attention_mask=masks, position_ids=packed.positions, use_cache=False
    )
    chosen = hidden.last_hidden_state[packed.row[:, None], packed.source]
    flat, targets = chosen.flatten(0, 1), completion_ids.flatten()
    engine = None if engine_logprobs is None else engine_logprobs.flatten()
    parts = []
    for start in range(0, len(flat), HEAD_TOKENS):
        part = slice(start, start + HEAD_TOKENS)
        cut = (top_p, engine[part]) if engine is not None and top_p < 1 else None
        parts.append(
            checkpoint(
                _head,
                model.lm_head,
                flat[part],
                targets[part],
                temperature,
                cut,
                use_reentrant=False,
            )
        )
    logprobs, entropies = (
        torch.cat(column).view_as(completion_ids) for column in zip(*parts, strict=True)
    )
    return logprobs, entropies


def _head(
    lm_head: nn.Module,
    hidden: Tensor,
    targets: Tensor,
    temperature: float,
    cut: tuple[float, Tensor] | None,
) -> tuple[Tensor, Tensor]:
    logits = lm_head(hidden).float() / temperature
    logprobs = (logits if cut is None else truncated(logits, targets, *cut)).log_softmax(-1)
    entropy = -(logprobs.detach().exp() * logprobs.detach()).sum(-1)
    return logprobs.gather(1, targets[:, None])[:, 0], entropy
