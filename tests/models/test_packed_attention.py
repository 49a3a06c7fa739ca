"""Attention without dense masks gives what the dense mask gives; padding stays uncounted."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.gpu_check.workload import Shape, rl_batch, rl_loss
from builders.nano_policies import nano
from models.adapters import adapted
from models.config import LoraConfig
from models.packed import PackedBatch, attention_masks, layer_masks, pack
from models.packed_attention import NAME, SharedPrompts, shared_prompts
from models.routing import RouterWatch, real_tokens

BATCH = rl_batch(Shape(groups=2, completions=3, prompt=12, completion=4), 103, "cpu")
DENSE, SHARED = nano(seed=3).train(), nano(seed=3).train()
SHARED.dense_masks = False
TOKENS = st.lists(st.integers(7, 100), min_size=1, max_size=12)
GROUPS = st.lists(
    st.tuples(TOKENS, st.lists(TOKENS, min_size=1, max_size=4)), min_size=1, max_size=4
)
MIXED = [
    (list(range(10, 30)), [[40, 41, 42], [50, 51], [60]]),
    (list(range(30, 42)), [[70, 71, 72, 73]]),
]


def layout(packed: PackedBatch) -> SharedPrompts:
    return shared_prompts(packed["owner"], packed["row"], packed["targets"].shape[1])


def seen_by_shared(packed: PackedBatch) -> torch.Tensor:
    """Which token of a row looks at which (R, L, L), read from the layout; padding left out."""
    shared, (rows, length) = layout(packed), packed["ids"].shape
    seen = torch.zeros(rows, length + 1, length, dtype=torch.bool)
    seen[:, : shared.prompt] = torch.ones(shared.prompt, length).tril().bool()
    for b, row in enumerate(shared.row_B.tolist()):
        for c, query in enumerate(shared.queries_BC[b].tolist()):
            seen[row, query] = False
            seen[row, query, shared.keys_BK[b][shared.seen_B1CK[b, 0, c]]] = True
    return seen[:, :length] & (packed["owner"] >= 0)[:, :, None]


@settings(max_examples=50, deadline=None)
@given(GROUPS)
def test_the_same_tokens_look_at_each_other(groups):
    packed = pack(groups, 0)
    dense = attention_masks(packed, None)["full_attention"][:, 0]
    assert torch.equal(seen_by_shared(packed), dense & (packed["owner"] >= 0)[:, :, None])


@settings(max_examples=15, deadline=None)
@given(GROUPS)
def test_log_probabilities_equal_those_of_the_dense_mask(groups):
    packed = pack(groups, 0)
    real = torch.zeros_like(packed["targets"], dtype=torch.bool)
    completions = [completion for _, several in groups for completion in several]
    for row, completion in zip(real, completions, strict=True):
        row[: len(completion)] = True
    with torch.no_grad():
        one, other = SHARED(packed=packed).logprobs[real], DENSE(packed=packed).logprobs[real]
    torch.testing.assert_close(one, other, rtol=0, atol=2e-5)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_equal_those_of_the_dense_mask(checkpointing):
    dense, shared = nano(seed=3).train(), nano(seed=3).train()
    shared.dense_masks = False
    for policy in (dense, shared):
        if checkpointing:
            policy.gradient_checkpointing_enable({"use_reentrant": False})
        rl_loss(policy, BATCH).backward()
    assert dense.config._attn_implementation == "sdpa"
    assert shared.config._attn_implementation == NAME
    for one, other in zip(shared.parameters(), dense.parameters(), strict=True):
        assert one.grad is not None and other.grad is not None
        assert (one.grad - other.grad).norm() <= 1e-5 * other.grad.norm() + 1e-9


def test_rows_with_one_completion_each_need_no_mask():
    packed = pack([([9] * 4, [[8] * 20, [7] * 5])], 0)
    shared = layout(packed)
    assert packed["ids"].shape == (2, 24) and shared.prompt == 24 and len(shared.row_B) == 0


def test_rows_longer_than_a_chunk_keep_the_dense_mask():
    policy = nano(seed=3)
    policy.dense_masks = False
    policy.config.attention_chunk_size = 16
    masks = layer_masks(policy, pack(MIXED, 0))
    assert set(masks) == {"full_attention", "chunked_attention"}
    assert isinstance(masks["full_attention"], torch.Tensor)


def test_other_forward_passes_have_the_bytes_of_before():
    ids = torch.arange(10, 40)[None].repeat(2, 1)
    mask = torch.ones_like(ids)
    mask[1, 20:] = 0
    with torch.no_grad():
        SHARED(packed=pack(MIXED, 0))
        assert SHARED.config._attn_implementation == NAME
        for arguments in ({}, {"attention_mask": mask}):
            one, other = (p(input_ids=ids, **arguments).logits for p in (SHARED, DENSE))
            assert torch.equal(one, other)


def test_the_load_of_the_experts_is_counted_without_padding():
    counts: list[dict[int, list[int]]] = []
    for policy in (nano(seed=3).train(), nano(seed=3).train()):
        policy.dense_masks = bool(counts)
        watch = RouterWatch(adapted(policy, LoraConfig()))
        watch.policy(packed=pack(MIXED, 0))
        counts.append({layer: count.tolist() for layer, count in watch.counts.items()})
    assert counts[0] == counts[1] and sum(counts[0][1]) == 20 + 6 + 12 + 4
    real = [real_tokens(layer_masks(policy, pack(MIXED, 0))) for policy in (SHARED, DENSE)]
    assert real[0] is not None and real[1] is not None and torch.equal(real[0], real[1])
