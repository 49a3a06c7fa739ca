"""The packed forward gives what separate sequences give: log-probabilities and gradients."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.packed_groups import POLICY, group, padded
from rollouts.parity import trainer_logprobs
from stages.rl.packed import attention_masks, logprobs_and_entropies, pack

TOKENS = st.lists(st.integers(7, 100), min_size=1, max_size=12)


def packed_logprobs(groups, temperature=1.0):
    ids = padded(groups)
    logprobs, entropies = logprobs_and_entropies(POLICY, pack(groups, 0), ids, temperature)
    lengths = [len(completion) for one in groups for completion in one.completions]
    return torch.cat([row[:n] for row, n in zip(logprobs, lengths, strict=True)]), entropies


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(TOKENS, st.lists(TOKENS, min_size=1, max_size=4)), min_size=1, max_size=3)
)
def test_packed_equals_separate_sequences(shapes):
    groups = [group(prompt, completions) for prompt, completions in shapes]
    prompts = [one.prompt_ids for one in groups for _ in one.completions]
    completions = [completion for one in groups for completion in one.completions]
    expected = trainer_logprobs(POLICY, prompts, completions)
    torch.testing.assert_close(packed_logprobs(groups)[0].detach(), expected, rtol=0, atol=2e-5)


def test_gradients_equal_those_of_separate_sequences():
    prompt, completions = list(range(10, 30)), [[40, 41, 42], [50, 51], [60]]
    packed_logprobs([group(prompt, completions)])[0].sum().backward()
    packed = [p.grad.clone() for p in POLICY.parameters()]
    POLICY.zero_grad()
    sum(packed_logprobs([group(prompt, [c])])[0].sum() for c in completions).backward()
    for one, other in zip(packed, (p.grad for p in POLICY.parameters()), strict=True):
        assert (one - other).norm() <= 1e-5 * other.norm() + 1e-9
    POLICY.zero_grad()


def test_a_prompt_is_computed_once_only_where_that_saves():
    short, long = group([9] * 20, [[8] * 4] * 3), group([9] * 4, [[8] * 20] * 3)
    assert pack([short], 0).ids.shape == (1, 32)
    assert pack([long], 0).ids.shape == (3, 24)


def test_chunked_layers_look_no_further_than_their_chunk():
    packed = pack([group([9] * 6, [[8] * 3, [7] * 3])], 0)
    masks = attention_masks(packed, chunk=4)
    assert masks["full_attention"][0, 0, 8, :6].all()
    assert masks["chunked_attention"][0, 0, 7].nonzero().flatten().tolist() == [4, 5, 6, 7]
    assert masks["chunked_attention"][0, 0, 8].nonzero().flatten().tolist() == [8]
    assert masks["chunked_attention"][0, 0, 5].nonzero().flatten().tolist() == [4, 5]


def test_temperature_flattens_the_distribution():
    groups = [group([10, 11, 12], [[13, 14]])]
    assert packed_logprobs(groups, temperature=5.0)[1].mean() > packed_logprobs(groups)[1].mean()
