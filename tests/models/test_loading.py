"""Checkpoint folders: exact round trips with stock transformers, multimodal folders, and no code
of theirs run."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Llama4Config,
    Llama4ForCausalLM,
    Llama4ForConditionalGeneration,
    Llama4TextConfig,
)

from builders.checkpoint_folders import edit_config, identical, refusal, rewrite
from common.errors import BadInput
from models.checkpoint import load_policy, load_tokenizer, save_policy
from models.nano import nano_model, nano_tokenizer
from models.upcycle import load_dense

TOKENIZER = nano_tokenizer()
CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "3 + 4 ="}]
EXPERTS = "model.layers.1.feed_forward.experts.down_proj"
TEXT = {
    "vocab_size": 120,
    "hidden_size": 32,
    "intermediate_size": 24,
    "intermediate_size_mlp": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "attention_chunk_size": 16,
    "interleave_moe_layer_step": 2,
    "num_local_experts": 4,
    "num_experts_per_tok": 1,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "eos_token_id": [1, 5],
}
VISION = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 28,
    "vision_output_dim": 16,
    "projector_input_dim": 16,
    "projector_output_dim": 16,
}


def multimodal(folder, **changed):
    """A checkpoint in the form of Scout and Maverick, in several shards; returns the model."""
    torch.manual_seed(0)
    model = Llama4ForConditionalGeneration(
        Llama4Config(text_config={**TEXT, **changed}, vision_config=VISION)
    ).eval()
    model.save_pretrained(folder, max_shard_size="20KB")
    TOKENIZER.save_pretrained(folder)
    return model


def token_ids():
    return torch.randint(1, 120, (2, 30), generator=torch.Generator().manual_seed(1))


def stored(folder):
    """All tensors of a folder as they are in its files."""
    return {
        name: tensor
        for file in folder.glob("*.safetensors")
        for name, tensor in load_file(file).items()
    }


def test_a_checkpoint_loads_in_plain_transformers_without_our_code(nano):
    ids = TOKENIZER.apply_chat_template(CHAT, add_generation_prompt=True, return_dict=False)
    code = (
        "import json, sys, torch; from transformers import AutoModelForCausalLM as A\nm, i ="
        " A.from_pretrained(sys.argv[1], dtype=torch.float32, output_loading_info=True)\nwith"
        " torch.no_grad(): x ="
        " m.eval()(input_ids=torch.tensor([json.loads(sys.argv[2])])).logits[0,"
        " -1].tolist()\nprint(json.dumps([type(m).__name__, [sorted(i[k]) for k in ('missing_keys',"
        " 'unexpected_keys')], x]))\n"
    )
    command = [sys.executable, "-I", "-c", code, str(nano), json.dumps(ids)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=nano)
    kind, wrong, logits = json.loads(done.stdout.splitlines()[-1])
    assert kind == "Llama4ForCausalLM" and wrong == [[], []]
    with torch.no_grad():
        expected = load_policy(nano).eval()(input_ids=torch.tensor([ids])).logits[0, -1]
    torch.testing.assert_close(torch.tensor(logits), expected, rtol=0, atol=1e-5)
    assert (
        AutoTokenizer.from_pretrained(nano)
        .apply_chat_template(CHAT, tokenize=False)
        .startswith("<|system|>")
    )


def test_loading_returns_the_saved_weights(nano):
    assert identical(nano_model(TOKENIZER, seed=3).state_dict(), load_policy(nano).state_dict())


@pytest.mark.parametrize("tied", [True, False])
def test_checkpoints_of_stock_transformers_round_trip_unchanged(tmp_path, tied):
    torch.manual_seed(0)
    stock = Llama4ForCausalLM(Llama4TextConfig(**TEXT, tie_word_embeddings=tied))
    stock.save_pretrained(tmp_path / "stock", max_shard_size="20KB")
    ours = load_policy(tmp_path / "stock")
    assert identical(stock.state_dict(), ours.state_dict())
    save_policy(ours, TOKENIZER, tmp_path / "ours")
    assert identical(stored(tmp_path / "stock"), stored(tmp_path / "ours"))
    again = Llama4ForCausalLM.from_pretrained(tmp_path / "ours")
    assert identical(stock.state_dict(), again.state_dict())
    again.save_pretrained(tmp_path / "again")
    assert identical(stored(tmp_path / "ours"), stored(tmp_path / "again"))


@pytest.mark.parametrize("tied", [True, False])
def test_the_text_part_of_a_multimodal_checkpoint_is_loaded(tmp_path, tied):
    whole = multimodal(tmp_path / "whole", tie_word_embeddings=tied)
    names = json.loads((tmp_path / "whole" / "model.safetensors.index.json").read_text())[
        "weight_map"
    ]
    assert {name.split(".")[0] for name in names} == {
        "language_model",
        "vision_model",
        "multi_modal_projector",
    }
    ours = load_policy(tmp_path / "whole").eval()
    assert identical(whole.language_model.state_dict(), ours.state_dict())
    with torch.no_grad():
        expected, actual = (model(input_ids=token_ids()).logits for model in (whole, ours))
    assert (expected - actual).abs().max() < 1e-5 and expected.std() > 0.1

    save_policy(ours, load_tokenizer(tmp_path / "whole"), tmp_path / "text")
    assert (
        json.loads((tmp_path / "text" / "config.json").read_text())["model_type"] == "llama4_text"
    )
    alone, info = AutoModelForCausalLM.from_pretrained(tmp_path / "text", output_loading_info=True)
    assert (
        type(alone) is Llama4ForCausalLM
        and not info["missing_keys"]
        and not info["unexpected_keys"]
    )
    assert identical(alone.state_dict(), whole.language_model.state_dict())
    assert alone.generation_config.eos_token_id == [1, 5]
    assert identical(load_policy(tmp_path / "text").state_dict(), ours.state_dict())


def test_the_older_fields_of_scouts_config_mean_the_same(tmp_path):
    """As published: `rope_theta` and `rope_scaling`, no layer types, an empty list for the default
    NoPE layers."""
    scaling = {
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    }
    whole = multimodal(
        tmp_path, rope_parameters={"rope_type": "llama3", "rope_theta": 500_000.0, **scaling}
    )
    text = json.loads((tmp_path / "config.json").read_text())["text_config"]
    for field in ("rope_parameters", "layer_types"):
        del text[field]
    text |= {
        "rope_theta": 500_000.0,
        "rope_scaling": {"rope_type": "llama3", **scaling},
        "no_rope_layers": [],
    }
    edit_config(tmp_path, text_config=text, torch_dtype="bfloat16")
    ours = load_policy(tmp_path).eval()
    with torch.no_grad():
        expected, actual = (model(input_ids=token_ids()).logits for model in (whole, ours))
    assert (expected - actual).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            lambda tensors: tensors.pop(f"language_model.{EXPERTS}"),
            rf"missing tensors: language_model\.{EXPERTS}\n",
        ),
        (lambda tensors: tensors.update(audio=torch.zeros(1)), "unexpected tensors: audio"),
        (
            lambda tensors: tensors.update({EXPERTS: torch.zeros(1)}),
            f"unexpected tensors: {EXPERTS}",
        ),
    ],
)
def test_the_text_part_is_loaded_strictly(tmp_path, change, named):
    multimodal(tmp_path).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors.index.json").unlink()
    load_policy(tmp_path)
    rewrite(tmp_path, change)
    with pytest.raises(BadInput, match=named):
        load_policy(tmp_path)


def test_vision_tensors_do_not_belong_in_a_text_checkpoint(nano):
    rewrite(nano, lambda tensors: tensors.update({"vision_model.class_embedding": torch.zeros(4)}))
    assert "unexpected tensors: vision_model.class_embedding" in refusal(load_policy, nano)


def test_a_bfloat16_checkpoint_becomes_float32_everywhere(tmp_path):
    torch.manual_seed(0)
    stock = Llama4ForCausalLM(Llama4TextConfig(**TEXT))
    frequencies = stock.model.rotary_emb.inv_freq.clone()
    rounded = {name: tensor.bfloat16().float() for name, tensor in stock.state_dict().items()}
    stock.bfloat16().save_pretrained(tmp_path)
    assert {tensor.dtype for tensor in stored(tmp_path).values()} == {torch.bfloat16}
    ours = load_policy(tmp_path)
    assert {tensor.dtype for tensor in (*ours.parameters(), *ours.buffers())} == {torch.float32}
    assert identical(ours.state_dict(), rounded) and torch.equal(
        ours.model.rotary_emb.inv_freq, frequencies
    )
    assert ours.config.dtype == torch.float32
    assert load_policy(tmp_path, torch.bfloat16).lm_head.weight.dtype == torch.bfloat16


def test_code_in_a_folder_is_never_run(nano, dense):
    for folder, kind in ((nano, "Llama4Text"), (dense, "Llama")):
        TOKENIZER.save_pretrained(folder)
        (folder / "theirs.py").write_text(
            f"open({str(folder / 'ran')!r}, 'w')\nclass {kind}Config: pass\n"
        )
        (folder / "custom_generate").mkdir()
        (folder / "custom_generate" / "generate.py").write_text(
            f"open({str(folder / 'ran')!r}, 'w')\n"
        )
        autos = {"AutoConfig": "theirs.Config", "AutoModelForCausalLM": "theirs.Model"}
        edit_config(folder, auto_map=autos)
        edit_config(
            folder,
            "tokenizer_config.json",
            auto_map={"AutoTokenizer": ["theirs.Slow", "theirs.Fast"]},
        )
    load_policy(nano)
    load_dense(dense)
    for folder in (nano, dense):
        load_tokenizer(folder)
        assert not (folder / "ran").exists()
