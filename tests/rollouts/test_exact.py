"""The model definition against transformers' own and against vLLM, over random configs: same
weights, same numbers."""

import json
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Llama4ForCausalLM, Llama4TextConfig

from models.checkpoint import save_policy
from models.moe import MoeForCausalLM, SparseMoe
from models.nano import nano_tokenizer
from models.routing import differing, routing
from rollouts.parity import trainer_logprobs

VOCABULARY = 40


def small(experts=4, top_k=1, **more):
    settings = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 24,
        "intermediate_size_mlp": 48,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 64,
        "attention_chunk_size": 64,
        "interleave_moe_layer_step": 2,
        "num_local_experts": experts,
        "num_experts_per_tok": top_k,
        "initializer_range": 0.3,
        "pad_token_id": 0,
        "attn_implementation": "eager",
    }
    return Llama4TextConfig(**{**settings, **more})


@st.composite
def configs(draw):
    """Experts 1 to 128, top-1 to 4, chunks shorter than the sequences, rotary or not, all the
    published switches."""
    experts = draw(st.sampled_from([1, 2, 3, 4, 7, 16, 33, 128]))
    return small(
        experts,
        top_k=min(draw(st.integers(1, 4)), experts),
        # Widths that are no multiple of 16 bytes too, which grouped_mm alone refuses.
        intermediate_size=draw(st.sampled_from([8, 18, 24])),
        attention_chunk_size=draw(st.sampled_from([3, 8, 64])),
        no_rope_layers=draw(st.sampled_from([[1, 1, 1, 0], [1, 1, 1, 1], [0, 1, 0, 1]])),
        use_qk_norm=draw(st.booleans()),
        attn_temperature_tuning=draw(st.booleans()),
        floor_scale=4,
        interleave_moe_layer_step=draw(st.sampled_from([1, 2])),
        attn_implementation=draw(st.sampled_from(["eager", "sdpa"])),
        tie_word_embeddings=draw(st.booleans()),
    )


def pair(config, seed):
    """Stock and ours with the same random weights."""
    torch.manual_seed(seed)
    stock, ours = Llama4ForCausalLM(config), MoeForCausalLM(config)
    ours.load_state_dict(stock.state_dict())
    return stock.train(), ours.train()


def padded(rows, length, left, right):
    """A mask with padding on the left of the first row and on the right of the last."""
    mask = torch.ones(rows, length, dtype=torch.long)
    mask[0, : min(left, length - 1)] = 0
    if right and rows > 1:
        mask[-1, max(1, length - right) :] = 0
    return mask


def relative(one, other):
    return ((one - other).norm() / other.norm().clamp(min=1e-12)).item()


def require_same_gradients(ours, stock, zeros=True):
    """Every gradient within 1e-5 of its own norm; where some are zero, their rounding (8 units of
    the largest) too."""
    size = max(p.grad.norm() for p in stock.parameters() if p.grad is not None)
    for (name, expected), own in zip(stock.named_parameters(), ours.parameters(), strict=True):
        assert expected.grad is not None and own.grad is not None, name
        rounding = 8 * torch.finfo(torch.float32).eps * size if zeros else 0.0
        assert (own.grad - expected.grad).norm() <= 1e-5 * expected.grad.norm() + rounding, name


@settings(max_examples=40, deadline=None)
@given(
    config=configs(),
    rows=st.integers(1, 3),
    length=st.integers(1, 20),
    left=st.integers(0, 5),
    right=st.integers(0, 5),
    seed=st.integers(0, 99),
    recompute=st.booleans(),
)
def test_logits_and_all_gradients_are_those_of_stock(
    config, rows, length, left, right, seed, recompute
):
    stock, ours = pair(config, seed)
    if recompute:
        ours.gradient_checkpointing_enable({"use_reentrant": False})
    ids, mask = torch.randint(1, VOCABULARY, (rows, length)), padded(rows, length, left, right)
    weights = torch.randn(rows, length, VOCABULARY) * mask[:, :, None]
    logits = [
        model(input_ids=ids, attention_mask=mask, use_cache=False).logits for model in (stock, ours)
    ]
    for one in logits:
        (one * weights).sum().backward()
    assert relative(logits[1][mask.bool()], logits[0][mask.bool()]) < 1e-5
    require_same_gradients(ours, stock)


@pytest.mark.parametrize(("experts", "top_k"), [(1, 1), (4, 1), (7, 2), (16, 4), (128, 1)])
def test_no_gradient_differs_by_1e_5_of_itself(experts, top_k):
    config = small(
        experts, top_k, attention_chunk_size=8, interleave_moe_layer_step=1, num_hidden_layers=4
    )
    stock, ours = pair(config, seed=experts)
    ids, mask = torch.randint(1, VOCABULARY, (4, 40)), padded(4, 40, 5, 9)
    for model in (stock, ours):
        (
            model(input_ids=ids, attention_mask=mask)
            .logits.log_softmax(-1)[mask.bool()]
            .square()
            .sum()
        ).backward()
    require_same_gradients(ours, stock, zeros=False)


@pytest.mark.parametrize("tokens", [1, 30])
def test_experts_without_a_token_get_a_zero_gradient(tokens):
    stock, ours = pair(small(8, interleave_moe_layer_step=1), seed=0)
    for model in (stock, ours):
        for layer in model.model.layers:
            layer.feed_forward.router.register_forward_hook(prefer(5))
    ids = torch.randint(1, VOCABULARY, (1, tokens))
    for model in (stock, ours):
        model(input_ids=ids).logits.sum().backward()
    require_same_gradients(ours, stock)
    gradient = ours.model.layers[0].feed_forward.experts.down_proj.grad
    assert gradient[5].any() and not gradient[[0, 1, 2, 3, 4, 6, 7]].any()


def prefer(expert):
    """A router hook that sends every token to one expert, with the score of a logit of 1."""

    def hook(module, args, output):
        logits = torch.nn.functional.one_hot(
            torch.full((len(output[1]),), expert), output[1].shape[1]
        ).float()
        return torch.where(logits > 0, logits.sigmoid(), 0.0) + 0.0 * output[1], logits

    return hook


def test_frozen_experts_keep_no_gradient_and_the_others_keep_theirs():
    stock, ours = pair(small(4), seed=1)
    for model in (stock, ours):
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("experts" not in name)
    ids = torch.randint(1, VOCABULARY, (2, 12))
    for model in (stock, ours):
        model(input_ids=ids).logits.square().sum().backward()
    for (name, expected), own in zip(stock.named_parameters(), ours.parameters(), strict=True):
        assert (own.grad is None) == ("experts" in name), name
        if expected.grad is not None:
            assert relative(own.grad, expected.grad) < 1e-5, name


def test_the_state_dict_is_that_of_stock():
    stock, ours = pair(small(4), seed=0)
    assert {n: t.shape for n, t in ours.state_dict().items()} == {
        n: t.shape for n, t in stock.state_dict().items()
    }
    assert any(isinstance(module, SparseMoe) for module in ours.modules())


VLLM = """
import json, sys
from pathlib import Path
from rollouts.config import RolloutConfig
from rollouts.engine import Engine
folder, (prompts, completions) = sys.argv[1], json.loads(sys.argv[2])
engine = Engine(Path(folder), RolloutConfig(max_model_len=96), seed=0)
routing = engine.routing([p + c for p, c in zip(prompts, completions)])
print(json.dumps([engine.score(prompts, completions), routing.tolist()]))
engine.close()
"""


@pytest.mark.parametrize(
    "more",
    [
        {"experts": 16, "attention_chunk_size": 32, "interleave_moe_layer_step": 1},
        {
            "experts": 128,
            "use_qk_norm": False,
            "tie_word_embeddings": True,
            "attn_temperature_tuning": False,
        },
    ],
    ids=["16 experts, chunks shorter than the sequences", "128 experts, tied, no QK norm"],
)
def test_log_probabilities_and_chosen_experts_are_those_of_vllm(tmp_path, more):
    tokenizer = nano_tokenizer()
    torch.manual_seed(3)
    config = small(
        vocab_size=len(tokenizer),
        hidden_size=64,
        head_dim=32,
        max_position_embeddings=96,
        num_attention_heads=2,
        num_key_value_heads=1,
        **{"intermediate_size": 32, **more},
    )
    model = MoeForCausalLM(config).eval()
    save_policy(model, tokenizer, tmp_path)
    generator = torch.Generator().manual_seed(0)
    lengths = [(5, 20), (30, 11), (14, 2), (1, 60)]

    def draw(count):
        return torch.randint(7, len(tokenizer), (count,), generator=generator).tolist()

    sequences = [(draw(prompt), draw(completion)) for prompt, completion in lengths]
    prompts, completions = zip(*sequences, strict=True)
    command = [sys.executable, "-c", VLLM, str(tmp_path), json.dumps([prompts, completions])]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    scores, chosen = json.loads(done.stdout.splitlines()[-1])
    flat = torch.tensor([value for row in scores for value in row])
    expected = trainer_logprobs(model, prompts, completions)
    assert (flat - expected).abs().max() < 1e-4 and expected.std() > 0.1
    assert differing(torch.tensor(chosen), routing(model, [p + c for p, c in sequences])) == 0
