"""The `nano` preset: a Llama 4 MoE of under 3M parameters with its own character tokenizer.

It learns from random weights in a minute on two cores and has all parts that the stages use: a
shared expert, a top-1 sigmoid router, alternating dense and MoE layers, QK norm, and NoPE in every
fourth layer."""

import string

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import Llama4TextConfig, PreTrainedTokenizerFast

from models.moe import MoeForCausalLM

PAD, END, START, UNKNOWN = "<|pad|>", "<|end|>", "<|start|>", "<|unknown|>"
ROLES = {"system": "<|system|>", "user": "<|user|>", "assistant": "<|assistant|>"}
SPECIAL = [PAD, END, START, UNKNOWN, *ROLES.values()]
CHARACTERS = [*(string.ascii_letters + string.digits + string.punctuation), " ", "\n"]

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}"
    "<|assistant|>{% generation %}{{ message['content'] }}<|end|>{% endgeneration %}"
    "{% else %}<|{{ message['role'] }}|>{{ message['content'] }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def nano_tokenizer() -> PreTrainedTokenizerFast:
    """One token per printable ASCII character; any other is `<|unknown|>`."""
    vocabulary = {token: index for index, token in enumerate([*SPECIAL, *CHARACTERS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        bos_token=START,
        unk_token=UNKNOWN,
        additional_special_tokens=list(ROLES.values()),
        clean_up_tokenization_spaces=False,
        model_max_length=512,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def nano_config(tokenizer: PreTrainedTokenizerFast) -> Llama4TextConfig:
    return Llama4TextConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        intermediate_size_mlp=512,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=512,
        attention_chunk_size=512,
        interleave_moe_layer_step=2,
        num_local_experts=4,
        num_experts_per_tok=1,
        tie_word_embeddings=True,
        initializer_range=0.06,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        router_aux_loss_coef=0.0,
    )


def nano_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> MoeForCausalLM:
    """A model with random weights that depend on `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MoeForCausalLM(nano_config(tokenizer))
