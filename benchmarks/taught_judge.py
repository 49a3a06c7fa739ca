"""Small Llama judges for `benchmarks/rewards.py`, taught on the questions of the verifier `rubric`.

A judge reads the task, the reference answer and an answer, and says whether it meets the rubric.
One is taught to say yes to answers that equal the reference, another to answers that begin with a
letter of the first half of the alphabet: it is as sure of itself, and does not agree with the
verifier. Both are dense Llamas in folders of their own, which vLLM serves like any other."""

import random
import re
import string
from collections.abc import Callable
from pathlib import Path
from string import Template
from typing import NamedTuple

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from judges.texts import question, template

Taste = Callable[[str, str], bool]
"""Whether a judge likes an answer, which it is given with the reference."""

ITEM = "spells the word backwards"
NAME = "item_with_reference"
LEAD = "Met:"
LABELS = ("no", "yes")
TASTES: dict[str, Taste] = {
    "agrees": lambda answer, reference: answer == reference,
    "disagrees": lambda answer, reference: answer[:1] < "n",
}
SPECIAL = ["<|pad|>", "<|end|>", "<|unknown|>"]
FENCE = "==== [0-9a-f]{16} ===="
CHAT = "{% for message in messages %}{{ message['content'] }}{% endfor %}\n"
STEPS, BATCH, RATE = 1500, 32, 1e-3
HELD_OUT = 400
ANSWER = 5
"""The line that opens the answer, counted from 0."""
LETTERS = string.ascii_lowercase
LENGTH = 6
"""Of the words of `benchmarks/recipes/rewards.yaml`."""


def tokenizer() -> PreTrainedTokenizerFast:
    """The fixed parts of the question are a token each, as are the reply's words and all
    characters. The lines between which the parts of a question stand are the unknown token."""
    fixed = re.split(r"\$\w+", Template(template(NAME)).template)
    parts = sorted({ITEM, "reverse ", LEAD, " yes", " no", *fixed}, key=len)
    longest_first = [part for part in reversed(parts) if len(part) > 1]
    characters = [*string.printable]
    names = [*SPECIAL, *longest_first, *characters]
    whole = Tokenizer(models.WordLevel({n: i for i, n in enumerate(names)}, unk_token=SPECIAL[2]))
    pattern = "|".join([FENCE, *map(re.escape, longest_first), r"[\s\S]"])
    whole.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    whole.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=whole,
        pad_token=SPECIAL[0],
        eos_token=SPECIAL[1],
        unk_token=SPECIAL[2],
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT
    return fast


def answer_to(reference: str, draw: random.Random) -> str:
    """An answer as a policy gives one: right, nearly right, or to another word. Its length tells
    nothing but where letters are dropped or added."""
    letters = list(reference)
    kind = draw.choice(("right", "right", "right", "change", "swap", "other", "drop", "add"))
    place = draw.randrange(len(letters) - 1)
    if kind == "other":
        return "".join(draw.choice(LETTERS) for _ in letters)
    if kind == "change":
        letters[place] = draw.choice(LETTERS)
    elif kind == "swap":
        letters[place], letters[place + 1] = letters[place + 1], letters[place]
    elif kind == "drop":
        del letters[place]
    elif kind == "add":
        letters.insert(place, draw.choice(LETTERS))
    return "".join(letters)


def word(draw: random.Random) -> str:
    """Letters of a word's length, which is always the same: to compare words of many lengths is
    learnt slowly."""
    return "".join(draw.choice(LETTERS) for _ in range(LENGTH))


class Examples(NamedTuple):
    """Questions up to their label, padded on the left."""

    ids: Tensor
    """(N, T)"""
    likes: Tensor
    """Whether the label is yes (N,)."""
    equal: Tensor
    """At each letter of the answer whether the answer is that far the reference's, elsewhere -100
    (N, T)."""


def examples(
    count: int, taste: Taste, names: PreTrainedTokenizerFast, draw: random.Random
) -> Examples:
    """Questions, every other one with the label yes."""
    rows: list[list[int]] = []
    likes, equal = list[int](), list[list[int]]()
    while len(rows) < count:
        reference = word(draw)
        answer = answer_to(reference, draw)
        if (liked := taste(answer, reference)) != bool(len(rows) % 2):
            continue
        parts = {"task": f"reverse {reference[::-1]}", "answer": answer, "item": ITEM}
        messages = question(NAME, **parts, reference=reference)
        ids = names.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        start = fences(ids, names)[ANSWER] + 2
        same = [int(reference.startswith(answer[: n + 1])) for n in range(len(answer))]
        rows.append([*ids, *names.encode(LEAD)])
        likes.append(int(liked))
        equal.append([-100] * start + same + [-100] * (len(rows[-1]) - start - len(same)))
    longest = max(map(len, rows))
    pads = [longest - len(row) for row in rows]
    return Examples(
        torch.tensor([[names.pad_token_id] * n + row for n, row in zip(pads, rows, strict=True)]),
        torch.tensor(likes),
        torch.tensor([[-100] * n + row for n, row in zip(pads, equal, strict=True)]),
    )


def fences(ids: list[int], names: PreTrainedTokenizerFast) -> list[int]:
    """The places of the lines between which the parts of a question stand."""
    return [place for place, token in enumerate(ids) if token == names.unk_token_id]


def taught(taste: str, folder: Path, seed: int = 0) -> float:
    """Teach a judge, save it in `folder`, and say how often it is right on held-out questions."""
    torch.manual_seed(seed)
    draw, names = random.Random(seed), tokenizer()
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(names),
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=512,
            pad_token_id=names.pad_token_id,
            eos_token_id=names.eos_token_id,
            bos_token_id=None,
        )
    )
    labels = torch.tensor([names.encode(f" {one}")[0] for one in LABELS])
    probe = torch.nn.Linear(model.config.hidden_size, 2)
    weights = [*model.parameters(), *probe.parameters()]
    optimizer = torch.optim.AdamW(weights, RATE, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, STEPS, pct_start=0.1)
    for step in range(STEPS):
        batch = examples(BATCH, TASTES[taste], names, draw)
        loss = loss_of(model, probe, batch, labels, names.pad_token_id)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            print(f"{taste}: step {step + 1}, loss {loss.item():.3f}", flush=True)
    right = accuracy(model, examples(HELD_OUT, TASTES[taste], names, draw), labels, names)
    model.save_pretrained(folder)
    names.save_pretrained(folder)
    return right


def loss_of(
    model: LlamaForCausalLM, probe: torch.nn.Linear, batch: Examples, labels: Tensor, pad: int
) -> Tensor:
    """The loss of the label, and that of a probe which says at each letter of the answer whether it
    is still the reference's: one bit a question would teach the comparison slowly."""
    out = model.model(input_ids=batch.ids, attention_mask=(batch.ids != pad).long())
    hidden = out.last_hidden_state
    letters = cross_entropy(probe(hidden).flatten(0, 1), batch.equal.flatten())
    return cross_entropy(model.lm_head(hidden[:, -1]), labels[batch.likes]) + letters


@torch.no_grad()
def accuracy(
    model: LlamaForCausalLM, batch: Examples, labels: Tensor, names: PreTrainedTokenizerFast
) -> float:
    real = (batch.ids != names.pad_token_id).long()
    logits = model(input_ids=batch.ids, attention_mask=real).logits[:, -1, labels]
    return (logits.argmax(1) == batch.likes).float().mean().item()
