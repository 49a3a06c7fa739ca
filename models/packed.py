"""Log-probabilities of several completions of one prompt, with the prompt computed once.

A packed row is the prompt followed by its completions. The attention mask hides the completions
from each other, and the positions of every completion continue from the prompt. The
log-probabilities are therefore those of separate sequences (`tests/models/test_packed.py`).
On a CPU attention is dense over the row, so completions that are longer than their prompt get rows
of their own; on a GPU `models/packed_attention.py` computes it without a mask of the whole row."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypedDict

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint

from models.nucleus import truncated
from models.packed_attention import NAME, shared_prompts

PromptCompletions = tuple[list[int], list[list[int]]]
"""Token ids of a prompt, and those of each of its completions."""
LONGEST_ROW = 4096
"""Tokens in a packed row. Below this length Llama 4's temperature tuning, which counts from the
start of the row, is constant."""
HEAD_TOKENS = 1024
"""Tokens whose logits over the vocabulary are held at once."""


class PackedBatch(TypedDict):
    """R rows of length L; B completions of at most C tokens, in the order in which they were given.

    A plain dict of tensors: trainers and wrappers such as DDP and FSDP move its tensors between
    devices without knowing the class."""

    ids: Tensor
    """Token ids (R, L), padded on the right."""
    positions: Tensor
    """Position of each token in its own sequence (R, L)."""
    owner: Tensor
    """The completion of the row that a token belongs to, from 1 (R, L): 0 the prompt, -1
    padding."""
    row: Tensor
    """Row of each completion (B,)."""
    source: Tensor
    """Position in the row of the token that predicts each completion token (B, C)."""
    targets: Tensor
    """Token ids of the completions (B, C), padded on the right."""


class TokenLogprobs(NamedTuple):
    """Of each completion token; a tuple, in which DDP and FSDP find the tensors to hook."""

    logprobs: Tensor
    """Log-probabilities (B, C), with gradient."""
    entropies: Tensor
    """Entropies of the distributions that the tokens come from (B, C), in nats, without
    gradient."""


def pack(groups: Sequence[PromptCompletions], pad: int) -> PackedBatch:
    """Prompts with their completions as padded rows; `pad` is the token id of padding."""
    rows = [row for prompt, completions in groups for row in shared_rows(prompt, completions)]
    length = max(_tokens(row) for row in rows)
    targets = [torch.tensor(completion) for _, completions in rows for completion in completions]
    width = max(map(len, targets))
    ids = torch.full((len(rows), length), pad)
    positions, owner = torch.zeros_like(ids), torch.full_like(ids, -1)
    row_of, source = [], []
    for r, row in enumerate(rows):
        ids[r, : _tokens(row)], positions[r, : _tokens(row)], owner[r, : _tokens(row)] = _laid(row)
        source += [place + [0] * (width - len(place)) for place in _sources(row)]
        row_of += [r] * len(row[1])
    return PackedBatch(
        ids=ids,
        positions=positions,
        owner=owner,
        row=torch.tensor(row_of),
        source=torch.tensor(source),
        targets=pad_sequence(targets, batch_first=True, padding_value=pad),
    )


def shared_rows(prompt: list[int], completions: list[list[int]]) -> Iterator[PromptCompletions]:
    """One row with all completions, or a row for each where sharing costs more than it saves."""
    tokens = sum(map(len, completions))
    if tokens <= len(completions) * len(prompt) and len(prompt) + tokens <= LONGEST_ROW:
        yield prompt, completions
    else:
        yield from ((prompt, [completion]) for completion in completions)


def _tokens(row: PromptCompletions) -> int:
    prompt, completions = row
    return len(prompt) + sum(map(len, completions))


def _laid(row: PromptCompletions) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids, positions and owners of a row, without padding."""
    prompt, completions = row
    ids, positions, owner = list(prompt), list(range(len(prompt))), [0] * len(prompt)
    for number, completion in enumerate(completions, start=1):
        ids += completion
        positions += range(len(prompt), len(prompt) + len(completion))
        owner += [number] * len(completion)
    return torch.tensor(ids), torch.tensor(positions), torch.tensor(owner)


def _sources(row: PromptCompletions) -> Iterator[list[int]]:
    """Where each completion's tokens are predicted: the first by the prompt's last token, each
    other one by the token before it."""
    prompt, completions = row
    end = len(prompt)
    for completion in completions:
        yield [len(prompt) - 1, *range(end, end + len(completion) - 1)]
        end += len(completion)


def attention_masks(packed: PackedBatch, chunk: int | None) -> dict[str, Tensor]:
    """Boolean masks (R, 1, L, L) for Llama 4's full and chunked layers; True where a token may
    look."""
    ids, owner = packed["ids"], packed["owner"]
    length = ids.shape[1]
    mine, theirs = owner[:, :, None], owner[:, None, :]
    causal = torch.ones(length, length, dtype=torch.bool, device=ids.device).tril()
    seen = causal & ((theirs == mine) | (theirs == 0)) & (theirs >= 0) & (mine >= 0)
    # A padded token attends to itself: a row of the softmax must not be empty.
    seen = seen | torch.eye(length, dtype=torch.bool, device=ids.device)
    near = seen
    if chunk is not None:
        block = packed["positions"] // chunk
        near = seen & (block[:, :, None] == block[:, None, :])
    return {"full_attention": seen[:, None], "chunked_attention": near[:, None]}


REAL_TOKENS = "real_tokens"
"""Beside masks that are no tensors: which tokens are not padding (R, L)."""


def layer_masks(model: Any, packed: PackedBatch) -> dict[str, Any]:
    """What Llama 4's full and chunked layers get as their mask."""
    config, ids = model.config, packed["ids"]
    dense = not ids.is_cuda if model.dense_masks is None else model.dense_masks
    chunk = config.attention_chunk_size
    kernel = config._attn_implementation in ("sdpa", NAME)
    if dense or not kernel or (chunk is not None and ids.shape[1] > chunk):
        return {**attention_masks(packed, chunk)}
    config._attn_implementation = NAME
    shared = shared_prompts(packed["owner"], packed["row"], packed["targets"].shape[1])
    real = packed["owner"] >= 0
    return {"full_attention": shared, "chunked_attention": shared, REAL_TOKENS: real}


def token_logprobs(
    model: Any,
    packed: PackedBatch,
    temperature: float = 1.0,
    top_p: float = 1.0,
    engine_logprobs: Tensor | None = None,
) -> TokenLogprobs:
    """Log-probability and entropy at each completion token, of the distribution that `temperature`
    and `top_p` sample from.

    `model` is a plain policy; call this through its `forward`. Below a `top_p` of 1 the engine's
    log-probabilities of the tokens (B, C) are needed (`models/nucleus.py`)."""
    if top_p < 1 and engine_logprobs is None:
        raise ValueError(f"top_p is {top_p}: the engine's log-probabilities are needed")
    hidden = model.model(
        input_ids=packed["ids"],
        attention_mask=layer_masks(model, packed),
        position_ids=packed["positions"],
        use_cache=False,
    )
    chosen = rows_at(hidden.last_hidden_state, packed["row"][:, None], packed["source"])
    engine = None if engine_logprobs is None or top_p == 1 else engine_logprobs.flatten()
    nucleus = None if engine is None else (top_p, engine)
    targets = packed["targets"]
    columns = model.lm_head(chosen.flatten(0, 1), targets.flatten(), temperature, nucleus)
    return TokenLogprobs(*(column.view(targets.shape) for column in columns))


def rows_at(values: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """`values[row, column]` of (R, L, D), with a gradient that is added up in one order.

    Completions share the last token of their prompt, so places occur several times. The gradient of
    plain indexing is added up by atomic operations of several threads on a CPU, in the order in
    which they arrive. That of `index_select` is not, but on a GPU it is the other way round."""
    if values.is_cuda:
        return values[row, column]
    places = row * values.shape[1] + column
    return values.flatten(0, 1).index_select(0, places.flatten()).view(*places.shape, -1)


class TokenHead(nn.Linear):
    """The output head, which also gives the log-probabilities of given tokens without holding the
    logits of all of them at once.

    However many parts that takes, it is one call of `forward`: FSDP2 counts the calls of the
    modules that it shards, and all processes must make the same."""

    def forward(
        self,
        input: Tensor,
        targets: Tensor | None = None,
        temperature: float = 1.0,
        nucleus: tuple[float, Tensor] | None = None,
    ) -> Any:
        """Logits; with `targets` (N,) log-probabilities and entropies (N,) at hidden states
        (N, D)."""
        if targets is None:
            return super().forward(input)
        parts = []
        for start in range(0, len(input), HEAD_TOKENS):
            part = slice(start, start + HEAD_TOKENS)
            drawn = None if nucleus is None else (nucleus[0], nucleus[1][part])
            arguments = self.weight, input[part], targets[part], temperature, drawn
            parts.append(checkpoint(_head, *arguments, use_reentrant=False))
        # Copies, as FSDP2 hooks what its modules return, and warns of views.
        return tuple(torch.cat(column).clone() for column in zip(*parts, strict=True))


def _head(
    weight: Tensor,
    hidden: Tensor,
    targets: Tensor,
    temperature: float,
    nucleus: tuple[float, Tensor] | None,
) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies (N,) at hidden states (N, D). Checkpointed: the logits over
    the vocabulary are computed once more in the backward pass.

    Logits are float32, also where bfloat16 computes the layers: rounded to bfloat16, a logit of 20
    is wrong by up to 0.06."""
    with torch.autocast(hidden.device.type, enabled=False):
        logits = linear(hidden.to(weight.dtype), weight).float() / temperature
    logits = logits if nucleus is None else truncated(logits, targets, *nucleus)
    logprobs = logits.log_softmax(-1)
    entropy = -(logprobs.detach().exp() * logprobs.detach()).sum(-1)
    return logprobs.gather(1, targets[:, None])[:, 0], entropy
