"""The documented example: the curriculum without our pipeline, on another model than ours."""

from transformers import LlamaConfig, LlamaForCausalLM
from trl import GRPOConfig

from curriculum.ledger import Ledger
from docs.plain_trl import train
from models.nano import nano_tokenizer

STEPS, GROUP = 4, 4


def test_the_ledger_drives_a_plain_trl_trainer(tmp_path):
    tokenizer = nano_tokenizer()
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes))
    tasks = {
        f"{kind}{n}": {
            "messages": [{"role": "user", "content": f"{kind} {n}"}],
            "answer": kind,
            "kind": kind,
        }
        for kind in ("even", "never")
        for n in range(20)
    }
    args = GRPOConfig(
        output_dir=str(tmp_path / "out"),
        max_steps=STEPS,
        num_generations=GROUP,
        per_device_train_batch_size=2 * GROUP,
        max_completion_length=3,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        save_strategy="no",
        bf16=False,
    )
    before = {name: weight.clone() for name, weight in model.named_parameters()}

    def right(text, answer):
        return answer == "even" and len(text) % 2 == 0

    train(model, tokenizer, tasks, right, args, tmp_path / "ledger.sqlite")
    assert any(not weight.equal(before[name]) for name, weight in model.named_parameters())
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        rows = ledger.records()
        assert sum(row.drawn for row in rows) == 2 * STEPS
        assert all(row.passes == 0 for row in rows if row.capability == "never")
        assert sum(row.passes for row in rows) > 0
