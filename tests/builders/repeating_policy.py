"""A nano policy that repeats itself endlessly in about half of its answers."""

import torch

from models.checkpoint import save_policy
from models.nano import nano_model, nano_tokenizer

TOKENIZER = nano_tokenizer()
SAID = ("Here is a short reply for you.", "no " * 20)
"""Its two answers, to whatever it is asked; the second one is cut off at the limit of tokens."""


def save_repeating(folder, steps=60):
    """Train it, which takes seconds, and write its checkpoint into `folder`."""
    torch.manual_seed(0)
    policy = nano_model(TOKENIZER, seed=0)
    optimiser = torch.optim.Adam(policy.parameters(), 3e-3)
    drawn = torch.Generator().manual_seed(1)
    for _ in range(steps):
        ids, labels = _batch(drawn)
        policy(input_ids=ids, labels=labels).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    save_policy(policy, TOKENIZER, folder / "checkpoint")


def _batch(drawn, rows=16):
    """Token ids and labels, (rows, tokens): random questions, each with one of the answers."""
    width = 24 + max(map(len, SAID)) + 2
    ids = torch.full((rows, width), TOKENIZER.pad_token_id)
    labels = torch.full((rows, width), -100)
    for row in range(rows):
        length = int(torch.randint(8, 24, (1,), generator=drawn))
        asked = "".join(chr(97 + int(n)) for n in torch.randint(0, 26, (length,), generator=drawn))
        chat = [{"role": "user", "content": asked}, {"role": "assistant", "content": SAID[row % 2]}]
        tokens = TOKENIZER.apply_chat_template(chat, return_dict=False)
        ids[row, : len(tokens)] = torch.tensor(tokens)
        labels[row, length + 2 : len(tokens)] = ids[row, length + 2 : len(tokens)]
    return ids, labels
