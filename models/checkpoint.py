"""Checkpoint folders: safetensors, config and tokenizer, loadable by plain transformers and vLLM.

Loading is strict: every tensor of the model comes from the folder and every tensor of the folder
goes into the model. It is safe: weights are never unpickled and code in a folder is never run."""

import json
import re
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoTokenizer, Llama4Config, Llama4TextConfig, PreTrainedTokenizerBase

from common.errors import BadInput
from models.chat import guard
from models.moe import MoeForCausalLM
from models.tensors import require_fit, stored_tensors

TEXT_PART = "language_model."
"""Prefix of the text model's tensors in Llama 4's multimodal checkpoints (Scout, Maverick)."""
VISION = r"^(vision_model|multi_modal_projector)\."
"""Their tensors that a text model does not have. They are not loaded."""
FREQUENCIES = r"\.rotary_emb\.inv_freq$"
"""Tensors that old Llama checkpoints contain although they follow from the config."""
REFUSED = {
    "quantization_config": "start from the checkpoint before quantisation",
    "transformers_weights": (
        "rename the weights to model.safetensors and take the field out of config.json"
    ),
}
"""Fields of config.json that change the meaning or the place of the weights."""


_CONFIG_ERRORS = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError),
    StrictDataclassError,
)
"""Errors of transformers for an invalid config.json."""


def require_checkpoint(folder: Path) -> None:
    """Raise BadInput unless `folder` looks like a safetensors checkpoint."""
    if (folder / "adapter_config.json").is_file():
        raise BadInput(
            f"{folder}: adapter_config.json: this is a PEFT adapter, not a model",
            "merge it into its model (`merge_and_unload`), save that, and name the folder",
        )
    if not (folder / "config.json").is_file():
        raise BadInput(f"{folder}: no config.json", "name a Hugging Face checkpoint folder")
    if not any(folder.glob("*.safetensors")):
        raise BadInput(
            f"{folder}: no *.safetensors weights",
            "convert the weights to safetensors; pickle is refused",
        )


def model_type(folder: Path) -> str | None:
    """The `model_type` in config.json. Raises BadInput if `folder` is no checkpoint, or one that
    cannot be loaded exactly."""
    require_checkpoint(folder)
    try:
        settings = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise BadInput(
            f"{folder / 'config.json'}: cannot be read: {error}", "repair the file"
        ) from None
    if not isinstance(settings, dict):
        raise BadInput(f"{folder / 'config.json'}: not a JSON object", "repair the file")
    for field, remedy in REFUSED.items():
        if settings.get(field) or (settings.get("text_config") or {}).get(field):
            raise BadInput(
                f"{folder / 'config.json'}: {field} is set, which is not supported", remedy
            )
    return settings.get("model_type")


def read_config(kind: Any, folder: Path) -> Any:
    """config.json as a `kind`. The class is given here, so the file's `auto_map` is never used."""
    try:
        return kind.from_pretrained(folder)
    except _CONFIG_ERRORS as error:
        text = " ".join(str(error).split())
        raise BadInput(
            f"{folder / 'config.json'}: not a valid {kind.__name__}: {text}", "repair the file"
        ) from None


def load_policy(folder: Path, dtype: torch.dtype = torch.float32) -> MoeForCausalLM:
    """The Llama 4 text model in `folder`, or the text part of the multimodal one.

    Raises BadInput that names a missing, unexpected or wrongly shaped tensor.
    """
    kind = model_type(folder)
    if kind == "llama4":
        config, part = read_config(Llama4Config, folder).text_config, TEXT_PART
    elif kind == "llama4_text":
        config, part = read_config(Llama4TextConfig, folder), ""
    else:
        raise BadInput(
            f"{folder}: model type {kind!r} is not llama4_text or llama4",
            "start from it with `model: {upcycle: FOLDER}`",
        )
    _require_servable(config, folder)
    return load_whole(MoeForCausalLM, folder, config, dtype, part)


def _require_servable(config: Llama4TextConfig, folder: Path) -> None:
    """Raise BadInput for a setting that transformers follows and vLLM ignores."""
    step = config.interleave_moe_layer_step
    every = list(range(step - 1, config.num_hidden_layers, step)) if step > 0 else []
    for field, expected in (
        ("hidden_act", "silu"),
        ("attention_bias", False),
        ("moe_layers", every),
    ):
        if (value := getattr(config, field)) != expected:
            raise BadInput(
                f"{folder / 'config.json'}: {field} is {value!r}, but vLLM's Llama 4 computes with"
                f" {expected!r}",
                "start from another checkpoint",
            )


def load_whole(
    kind: Any, folder: Path, config: Any, dtype: torch.dtype = torch.float32, part: str = ""
) -> Any:
    """A model of class `kind` with every tensor from the safetensors in `folder`. Raises BadInput
    that names tensors that do not fit.

    With `part`, a prefix of tensor names, the model is that part of a larger one.
    """
    ignored = re.compile(VISION if part else FREQUENCIES)
    stored = {
        name: tensor for name, tensor in stored_tensors(folder).items() if not ignored.search(name)
    }
    with torch.device("meta"):
        require_fit(folder, stored, kind(config), part)
    model, info = kind.from_pretrained(
        folder,
        config=config,
        dtype=dtype,
        attn_implementation="sdpa",
        key_mapping={f"^{re.escape(part)}": ""} if part else None,
        output_loading_info=True,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
    )
    if wrong := sorted(
        map(str, [*info["missing_keys"], *info["mismatched_keys"], *info["error_msgs"]])
    ):
        raise RuntimeError(f"{folder}: transformers did not load {wrong[:5]}, although they fit")
    return model


def load_tokenizer(
    folder: Path, *, pad_token: str | None = None, chat_template: str | None = None
) -> PreTrainedTokenizerBase:
    """The tokenizer in `folder`. It must have a chat template and a pad token, unless these are
    given.

    Text of messages never becomes a control token (`models.chat`).
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
    except (OSError, ValueError) as error:
        raise BadInput(
            f"{folder}: no usable tokenizer: {' '.join(str(error).split())}", "add its files"
        ) from None
    if chat_template is not None:
        tokenizer.chat_template = chat_template
    if pad_token is not None:
        _set_pad_token(tokenizer, pad_token, folder)
    if not tokenizer.chat_template:
        what = (
            "lacks a chat template"
            if tokenizer.chat_template is None
            else "has an empty chat template"
        )
        remedy = (
            "give one: `chat_template: FILE.jinja` under `model` of the recipe, or that file in the"
            " folder"
        )
        raise BadInput(f"{folder}: the tokenizer {what}", remedy)
    if tokenizer.pad_token_id is None:
        spare = _spare_token(tokenizer)
        remedy = (
            f"name one, such as {spare!r}: `pad_token` under `model` of the recipe, or in the"
            " folder"
        )
        raise BadInput(f"{folder}: the tokenizer lacks a pad token", remedy)
    return guard(tokenizer)


def _set_pad_token(tokenizer: PreTrainedTokenizerBase, pad_token: str, folder: Path) -> None:
    """Set the pad token. Raises BadInput unless it is in the vocabulary, as there is no other
    embedding, and differs from the end token, which could else not be told from padding."""
    remedy = f"name a token that nothing else uses, such as {_spare_token(tokenizer)!r}"
    if pad_token not in tokenizer.get_vocab():
        raise BadInput(f"{folder}: pad_token: the tokenizer has no token {pad_token!r}", remedy)
    if pad_token == tokenizer.eos_token:
        raise BadInput(
            f"{folder}: pad_token: {pad_token!r} is the token that ends an answer", remedy
        )
    tokenizer.pad_token = pad_token


def _spare_token(tokenizer: PreTrainedTokenizerBase) -> str:
    """A special token that looks meant for padding, or else any that is not an end token."""
    special = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
    free = [token for token in special if token not in (tokenizer.eos_token, tokenizer.bos_token)]
    return next((token for token in free if "pad" in token.lower()), next(iter(free), "<|pad|>"))


def save_policy(model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a checkpoint that loads without our code. `model` is a plain policy without
    adapters."""
    # Not in the original format: a model loaded as part of a larger one would get that one's names.
    model.save_pretrained(folder, save_original_format=False)
    finish(tokenizer, folder)


def finish(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Add the tokenizer to a checkpoint's weights and config.json, and name the stock class."""
    tokenizer.save_pretrained(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["architectures"] = ["Llama4ForCausalLM"]
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
