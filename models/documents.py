"""Several documents in one row: no padding, and no attention from one to another.

Every layer but attention computes token by token, so it takes the row as it is. Attention is
computed document by document with the usual causal kernel, which needs no mask: results are those
of rows of their own (`tests/models/test_documents.py`). A layer with chunked attention sees each
chunk of a document as a document."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, Llama4TextModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "uphill_documents"
"""Name of this attention in transformers' registry. Of other masks than `Spans` it makes what
"sdpa" makes."""


@dataclass(frozen=True, eq=False)
class Spans:
    """What takes the place of a layer's mask: the parts of the row in which tokens see each
    other."""

    lengths: list[int]
    """Their lengths, in the order of the row."""
    positions_T: Tensor
    """Position of each token in its document."""


class DocumentsModel(Llama4TextModel):
    """Llama 4's decoder, which also takes a row of documents."""

    def forward(self, *args: Any, documents: Sequence[int] | None = None, **kwargs: Any) -> Any:
        """Stock Llama 4's. With `documents`, the lengths of the documents in the one row that is
        given, together with `position_ids` (1, T) that begin at 0 in each, and without a mask."""
        if documents is not None:
            self.config._attn_implementation = NAME
            chunk = self.config.attention_chunk_size
            kwargs["attention_mask"] = layer_spans(documents, kwargs["position_ids"], chunk)
        return super().forward(*args, **kwargs)


def layer_spans(
    documents: Sequence[int], positions_1T: Tensor, chunk: int | None
) -> dict[str, Spans]:
    """What Llama 4's full and chunked layers get as their mask."""
    whole, positions_T = list(documents), positions_1T[0]
    pieces = whole if chunk is None else list(_pieces(whole, chunk))
    return {
        "full_attention": Spans(whole, positions_T),
        "chunked_attention": Spans(pieces, positions_T),
    }


def _pieces(lengths: Sequence[int], chunk: int) -> Iterator[int]:
    for length in lengths:
        yield from [chunk] * (length // chunk)
        if rest := length % chunk:
            yield rest


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Any,
    **settings: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface: (R, heads, L, width of a head) to (R, L, heads, width)."""
    if not isinstance(attention_mask, Spans):
        return sdpa_attention_forward(module, query, key, value, attention_mask, **settings)
    query, lengths = _tuned(module, query, attention_mask.positions_T), attention_mask.lengths
    causal = {**settings, "is_causal": True}
    parts = [
        sdpa_attention_forward(module, *own, None, **causal)[0]
        for own in zip(*(part.split(lengths, dim=2) for part in (query, key, value)), strict=True)
    ]
    return torch.cat(parts, dim=1), None


def _tuned(module: Any, query: Tensor, positions_T: Tensor) -> Tensor:
    """The query with Llama 4's temperature tuning by position in the document. Stock counts from
    the start of the row; below `floor_scale` tokens both are 1."""
    if module.use_rope or not module.attn_temperature_tuning:
        return query
    if len(positions_T) < module.floor_scale:
        return query

    def scale(places_T: Tensor) -> Tensor:
        steps_T = torch.floor((places_T.float() + 1.0) / module.floor_scale)
        return torch.log1p(steps_T) * module.attn_scale + 1.0

    row_T = torch.arange(len(positions_T), device=positions_T.device)
    return (query * (scale(positions_T) / scale(row_T))[:, None]).to(query.dtype)


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
