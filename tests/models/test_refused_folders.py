"""A problem with a checkpoint folder gives one clear error that names it; valid folders give
none."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Llama4ForCausalLM

from builders.checkpoint_folders import edit_config, identical, refusal, rewrite
from common.errors import BadInput
from models.checkpoint import load_policy, load_tokenizer
from models.nano import nano_model, nano_tokenizer
from models.packaged import resolve_dense
from models.upcycle import load_dense

TOKENIZER = nano_tokenizer()
EXPERTS = "model.layers.1.feed_forward.experts.down_proj"
HEAD, EMBEDDINGS = "lm_head.weight", "model.embed_tokens.weight"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda tensors: tensors.pop(EXPERTS), f"missing tensors: {EXPERTS}"),
        (
            lambda tensors: tensors.update({EXPERTS: tensors[EXPERTS][:2].contiguous()}),
            f"mismatched tensors: {EXPERTS}: checkpoint (2, 256, 128), model (4, 256, 128)",
        ),
        (
            lambda tensors: tensors.update({"model.extra": tensors[EXPERTS].clone()}),
            "unexpected tensors: model.extra",
        ),
        (
            lambda tensors: tensors.update({EXPERTS: tensors[EXPERTS].to(torch.float8_e4m3fn)}),
            f"{EXPERTS} (F8_E4M3)",
        ),
        (
            lambda tensors: tensors.update({HEAD: tensors[EMBEDDINGS] + 1}),
            f"{HEAD} differs from {EMBEDDINGS}",
        ),
    ],
    ids=["missing", "another shape", "unexpected", "quantised", "not tied"],
)
def test_a_wrong_tensor_is_named(nano, change, named):
    rewrite(nano, change)
    assert named in refusal(load_policy, nano)


def test_many_wrong_tensors_are_counted(nano):
    edit_config(
        nano,
        num_hidden_layers=2,
        no_rope_layers=[1, 1],
        layer_types=["full_attention"] * 2,
        moe_layers=[1],
    )
    assert refusal(load_policy, nano).endswith("and 16 more")


def test_an_equal_copy_of_a_tied_weight_is_accepted(nano):
    rewrite(nano, lambda tensors: tensors.update({HEAD: tensors[EMBEDDINGS].clone()}))
    assert identical(nano_model(TOKENIZER, seed=3).state_dict(), load_policy(nano).state_dict())


def test_a_wrong_dense_model_is_refused_too(dense):
    rewrite(dense, lambda tensors: tensors.pop("model.layers.0.mlp.up_proj.weight"))
    edit_config(dense, vocab_size=60)
    message = refusal(load_dense, dense)
    assert "missing tensors: model.layers.0.mlp.up_proj.weight; " in message
    assert f"{EMBEDDINGS}: checkpoint (50, 16), model (60, 16)" in message


def cut(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def pointer(folder):
    (folder / "model.safetensors").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n"
    )


def empty(folder):
    (folder / "model.safetensors").write_bytes(b"")


def shards(folder):
    model = Llama4ForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="1MB")


def absent_shard(folder):
    shards(folder)
    (folder / "model-00002-of-00007.safetensors").unlink()


def broken_index(folder):
    shards(folder)
    (folder / "model.safetensors.index.json").write_text('{"weight_map": ["model-00001"]}')


def twice(folder):
    shards(folder)
    first, second, *_ = sorted(folder.glob("model-*.safetensors"))
    save_file(load_file(first) | load_file(second), first, metadata={"format": "pt"})


def other_name(folder):
    (folder / "model.safetensors").rename(folder / "consolidated.safetensors")


def pickled(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def adapter(folder):
    (folder / "adapter_config.json").write_text(
        '{"base_model_name_or_path": "somewhere/else", "peft_type": "LORA"}'
    )


def no_json(folder):
    (folder / "config.json").write_text("{")


def no_object(folder):
    (folder / "config.json").write_text("[]")


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (cut, "model.safetensors: cannot be read as safetensors"),
        (pointer, "model.safetensors: cannot be read as safetensors"),
        (empty, "model.safetensors: cannot be read as safetensors"),
        (absent_shard, "names files that are not there: model-00002-of-00007.safetensors"),
        (broken_index, "model.safetensors.index.json: not an index"),
        (twice, "is in model-00001-of-00007.safetensors and in model-00002-of-00007.safetensors"),
        (other_name, "neither model.safetensors nor model.safetensors.index.json"),
        (pickled, "no *.safetensors weights"),
        (adapter, "this is a PEFT adapter, not a model"),
        (no_json, "config.json: cannot be read"),
        (no_object, "config.json: not a JSON object"),
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
        (
            lambda folder: edit_config(folder, hidden_size="wide"),
            "config.json: not a valid Llama4TextConfig",
        ),
        (
            lambda folder: edit_config(folder, quantization_config={"quant_method": "fp8"}),
            "quantization_config is set",
        ),
        (
            lambda folder: edit_config(folder, transformers_weights="x.safetensors"),
            "transformers_weights is set",
        ),
        (lambda folder: edit_config(folder, hidden_act="gelu"), "hidden_act is 'gelu', but vLLM"),
        (lambda folder: edit_config(folder, moe_layers=[1, 2]), "moe_layers is [1, 2], but vLLM"),
        (
            lambda folder: edit_config(folder, model_type="mixtral"),
            "model type 'mixtral' is not llama4_text or llama4",
        ),
    ],
)
def test_an_incomplete_checkpoint_gives_one_clear_error(nano, damage, named):
    damage(nano)
    assert named in refusal(load_policy, nano)


def test_shards_without_a_single_file_are_accepted(nano):
    shards(nano)
    assert len(list(nano.glob("*.safetensors"))) == 7
    assert identical(nano_model(TOKENIZER, seed=3).state_dict(), load_policy(nano).state_dict())


def test_another_kind_of_model_is_refused_with_a_way_out(dense, nano):
    with pytest.raises(BadInput, match="'llama' is not llama4_text") as caught:
        load_policy(dense)
    assert "upcycle" in caught.value.remedy
    assert "not a dense Llama" in refusal(load_dense, nano)
    adapter(dense)
    assert "PEFT adapter" in refusal(load_dense, dense) and "PEFT adapter" in refusal(
        resolve_dense, dense
    )


def test_a_tokenizer_that_cannot_serve_is_refused(nano):
    edit_config(nano, "tokenizer_config.json", pad_token=None)
    assert "lacks a pad token" in refusal(load_tokenizer, nano)
    (nano / "chat_template.jinja").unlink()
    assert "lacks a chat template" in refusal(load_tokenizer, nano)
    (nano / "tokenizer.json").unlink()
    assert "no usable tokenizer" in refusal(load_tokenizer, nano)
