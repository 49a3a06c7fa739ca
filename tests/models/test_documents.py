"""A row of documents gives what rows of their own give: log-probabilities, gradients, routing."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.nano_policies import TOKENIZER, nano
from models.moe import MoeForCausalLM
from models.nano import nano_config
from models.routing import RouterWatch
from training.accumulation import IGNORED, in_one_row, shortened

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=6)


def policy(**changes):
    config = nano_config(TOKENIZER)
    for name, value in changes.items():
        setattr(config, name, value)
    torch.manual_seed(3)
    return MoeForCausalLM(config).train()


POLICIES = {
    "nano": policy(),
    "chunked": policy(attention_chunk_size=16),
    "tuned": policy(floor_scale=8, attn_scale=0.5),
    "two experts": policy(num_experts_per_tok=2),
}
"""`tuned`: temperature tuning begins at the 8th token, so that where it counts from matters."""


def batch_of(lengths):
    """Documents in padded rows; the loss is on every third token."""
    torch.manual_seed(sum(lengths))
    ids = torch.randint(7, 100, (len(lengths), max(lengths)))
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    labels = ids.masked_fill(~mask | (torch.arange(max(lengths)) % 3 > 0), IGNORED)
    return {"input_ids": ids.masked_fill(~mask, 0), "attention_mask": mask.long(), "labels": labels}


def loss(model, batch):
    """The summed loss of a batch as a trainer computes it, and its gradients."""
    model.zero_grad()
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    logits = model(**inputs, use_cache=False).logits[:, :-1]
    targets = batch["labels"][:, 1:]
    total = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    total.backward()
    return total.item(), [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=15, deadline=None)
@given(LENGTHS)
def test_one_row_of_documents_has_the_loss_and_gradients_of_rows_of_their_own(name, lengths):
    batch = batch_of(lengths)
    wanted, gradients = loss(POLICIES[name], batch)
    found, others = loss(POLICIES[name], in_one_row(batch))
    assert found == pytest.approx(wanted, rel=1e-5, abs=1e-5)
    for one, other in zip(others, gradients, strict=True):
        assert (one - other).norm() <= 2e-5 * other.norm() + 1e-7


def test_tuning_would_be_wrong_if_it_counted_from_the_start_of_the_row():
    """The test above fails without the correction only if tuning matters to its policy."""
    plain, tuned = (POLICIES[name] for name in ("nano", "tuned"))
    assert abs(loss(plain, batch_of([30]))[0] - loss(tuned, batch_of([30]))[0]) > 1e-3


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_router_counts_and_the_balance_loss_are_those_of_padded_rows(checkpointing):
    found = []
    for laid in (shortened, in_one_row):
        model = nano(seed=3).train()
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        watch = RouterWatch(model, balance=0.1)
        _, gradients = loss(model, laid(batch_of([9, 30, 1, 17])))
        counts = {layer: count.tolist() for layer, count in watch.counts.items()}
        found.append((counts, watch.losses, gradients))
    (counts, losses, gradients), (other_counts, other_losses, others) = found
    assert counts == other_counts and sum(counts[1]) == 57
    assert losses == pytest.approx(other_losses, rel=1e-6)
    for one, other in zip(others, gradients, strict=True):
        assert (one - other).norm() <= 2e-5 * other.norm() + 1e-7


def test_a_document_does_not_see_the_one_before_it():
    alone, after = batch_of([12]), batch_of([12])
    after = {
        n: torch.cat([torch.full_like(v, 9 if n == "input_ids" else 1), v])
        for n, v in after.items()
    }
    model = POLICIES["nano"]
    with torch.no_grad():
        one = model(**{n: v for n, v in in_one_row(alone).items() if n != "labels"}).logits
        other = model(**{n: v for n, v in in_one_row(after).items() if n != "labels"}).logits
    torch.testing.assert_close(other[:, 12:], one, rtol=0, atol=2e-5)


def test_no_label_reaches_over_the_border_of_a_document():
    batch = batch_of([3, 2])
    batch["labels"] = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, IGNORED)
    row = in_one_row(batch)
    assert row["labels"][0, [0, 3]].tolist() == [IGNORED, IGNORED]
    assert row["position_ids"].tolist() == [[0, 1, 2, 0, 1]] and row["documents"] == (3, 2)
    assert row["input_ids"].shape == (1, 5)
