"""The packed forward gives what separate sequences give: log-probabilities and gradients."""

import inspect

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Llama4ForCausalLM

from builders.packed_groups import POLICY
from models.adapters import adapted
from models.config import LoraConfig
from models.moe import MoeForCausalLM
from models.nano import nano_model, nano_tokenizer
from models.packed import PromptCompletions, TokenLogprobs, attention_masks, pack
from rollouts.parity import trainer_logprobs

TOKENS = st.lists(st.integers(7, 100), min_size=1, max_size=12)


def packed_logprobs(groups: list[PromptCompletions], temperature=1.0):
    logprobs, entropies = POLICY(packed=pack(groups, 0), temperature=temperature)
    lengths = [len(completion) for _, completions in groups for completion in completions]
    return torch.cat([row[:n] for row, n in zip(logprobs, lengths, strict=True)]), entropies


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(TOKENS, st.lists(TOKENS, min_size=1, max_size=4)), min_size=1, max_size=3)
)
def test_packed_equals_separate_sequences(groups):
    prompts = [prompt for prompt, completions in groups for _ in completions]
    completions = [completion for _, completions in groups for completion in completions]
    expected = trainer_logprobs(POLICY, prompts, completions)
    torch.testing.assert_close(packed_logprobs(groups)[0].detach(), expected, rtol=0, atol=2e-5)


def test_gradients_equal_those_of_separate_sequences():
    prompt, completions = list(range(10, 30)), [[40, 41, 42], [50, 51], [60]]
    packed_logprobs([(prompt, completions)])[0].sum().backward()
    packed = [gradient.clone() for gradient in gradients()]
    POLICY.zero_grad()
    torch.stack([packed_logprobs([(prompt, [c])])[0].sum() for c in completions]).sum().backward()
    for one, other in zip(packed, gradients(), strict=True):
        assert (one - other).norm() <= 1e-5 * other.norm() + 1e-9
    POLICY.zero_grad()


def test_gradients_are_added_up_in_one_order():
    # With two threads, indexing adds up the gradients of a place that occurs several times in the
    # order in which the threads come by: two runs of an RL step then differ in their last bits.
    groups = [([9] * 8, [[number] * 4 for number in range(20, 28)])] * 3
    logprobs, _ = POLICY(packed=pack(groups, 0))
    assert "IndexBackward0" not in set(operations(logprobs.grad_fn))


def operations(node, seen=None):
    """The names of the operations of a backward pass."""
    seen = {node} if seen is None else seen
    yield node.name()
    for before, _ in node.next_functions:
        if before is not None and before not in seen:
            seen.add(before)
            yield from operations(before, seen)


def gradients():
    for parameter in POLICY.parameters():
        assert parameter.grad is not None
        yield parameter.grad


def test_a_prompt_is_computed_once_only_where_that_saves():
    short: PromptCompletions = ([9] * 20, [[8] * 4] * 3)
    long: PromptCompletions = ([9] * 4, [[8] * 20] * 3)
    assert pack([short], 0)["ids"].shape == (1, 32)
    assert pack([long], 0)["ids"].shape == (3, 24)


def test_chunked_layers_look_no_further_than_their_chunk():
    packed = pack([([9] * 6, [[8] * 3, [7] * 3])], 0)
    masks = attention_masks(packed, chunk=4)
    assert masks["full_attention"][0, 0, 8, :6].all()
    assert masks["chunked_attention"][0, 0, 7].nonzero().flatten().tolist() == [4, 5, 6, 7]
    assert masks["chunked_attention"][0, 0, 8].nonzero().flatten().tolist() == [8]
    assert masks["chunked_attention"][0, 0, 5].nonzero().flatten().tolist() == [4, 5]


def test_temperature_flattens_the_distribution():
    groups: list[PromptCompletions] = [([10, 11, 12], [[13, 14]])]
    assert packed_logprobs(groups, temperature=5.0)[1].mean() > packed_logprobs(groups)[1].mean()


def test_adapters_pass_packed_rows_on_to_the_policy():
    plain, packed = nano_model(nano_tokenizer(), seed=3), pack([([10, 11], [[13, 14], [15]])], 0)
    expected = plain(packed=packed, temperature=0.7)
    found = adapted(nano_model(nano_tokenizer(), seed=3), LoraConfig())(
        packed=packed, temperature=0.7
    )
    assert isinstance(found, TokenLogprobs)
    assert torch.equal(found.logprobs, expected.logprobs)
    assert torch.equal(found.entropies, expected.entropies)


def test_truncated_sampling_needs_the_engines_log_probabilities():
    with pytest.raises(ValueError, match=r"top_p is 0\.9: the engine's log-probabilities"):
        POLICY(packed=pack([([10, 11], [[13]])], 0), top_p=0.9)


def test_the_forward_has_the_signature_that_generation_and_trainers_read():
    assert inspect.signature(MoeForCausalLM.forward) == inspect.signature(Llama4ForCausalLM.forward)
