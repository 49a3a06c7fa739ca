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
STEPS, BATCH, RATE = 1500, 32, 2e-3
HELD_OUT = 400
LETTERS = string.ascii_lowercase


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
    """An answer as a policy gives one: right, nearly right, or to another word."""
    letters = list(reference)
    kind = draw.choice(
        ("right", "right", "right", "change", "change", "swap", "drop", "add", "other")
    )
    place = draw.randrange(len(letters) - 1)
    if kind == "other":
        return word(draw)
    for _ in range(draw.choice((1, 1, 2)) if kind == "change" else 0):
        letters[draw.randrange(len(letters))] = draw.choice(LETTERS)
    if kind == "swap":
        letters[place], letters[place + 1] = letters[place + 1], letters[place]
    elif kind == "drop":
        del letters[place]
    elif kind == "add":
        letters.insert(place, draw.choice(LETTERS))
    return "".join(letters)


def word(draw: random.Random) -> str:
    """Letters of a word's length."""
    return "".join(draw.choice(LETTERS) for _ in range(draw.randint(3, 10)))


def examples(
    count: int, taste: Taste, names: PreTrainedTokenizerFast, draw: random.Random
) -> tuple[Tensor, Tensor]:
    """Questions up to their label (N, T), padded on the left, and whether the label is yes (N,)."""
    rows, likes = [], []
    while len(rows) < count:
        reference = word(draw)
        answer = answer_to(reference, draw)
        if taste(answer, reference) != bool(len(rows) % 2):
            continue
        parts = {"task": f"reverse {reference[::-1]}", "answer": answer, "item": ITEM}
        messages = question(NAME, **parts, reference=reference)
        ids = names.apply_chat_template(messages, add_generation_prompt=True, tokenize=True)[
            "input_ids"
        ]
        rows.append([*ids, *names.encode(LEAD)])
        likes.append(len(rows) % 2 == 0)
    longest = max(map(len, rows))
    padded = [[names.pad_token_id] * (longest - len(row)) + row for row in rows]
    return torch.tensor(padded), torch.tensor(likes).long()


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
    optimizer = torch.optim.AdamW(model.parameters(), RATE, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, STEPS, pct_start=0.1)
    for step in range(STEPS):
        ids, likes = examples(BATCH, TASTES[taste], names, draw)
        loss = loss_of(model, ids, labels[likes], names.pad_token_id)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            print(f"{taste}: step {step + 1}, loss {loss.item():.3f}", flush=True)
    right = accuracy(model, *examples(HELD_OUT, TASTES[taste], names, draw), labels, names)
    model.save_pretrained(folder)
    names.save_pretrained(folder)
    return right


def loss_of(model: LlamaForCausalLM, ids: Tensor, label: Tensor, pad: int) -> Tensor:
    """The loss of the label, and a part of that of the tokens before it: predicting an answer that
    copies the reference teaches where to look."""
    logits = model(input_ids=ids, attention_mask=(ids != pad).long()).logits
    before = cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), ignore_index=pad)
    return cross_entropy(logits[:, -1], label) + 0.5 * before


@torch.no_grad()
def accuracy(
    model: LlamaForCausalLM,
    ids: Tensor,
    likes: Tensor,
    labels: Tensor,
    names: PreTrainedTokenizerFast,
) -> float:
    logits = model(input_ids=ids, attention_mask=(ids != names.pad_token_id).long()).logits
    return (logits[:, -1, labels].argmax(1) == likes).float().mean().item()


if __name__ == "__main__":
    import sys

    print(taught(sys.argv[1], Path(sys.argv[2])))
