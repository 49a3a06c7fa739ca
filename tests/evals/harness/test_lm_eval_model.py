"""Our model in lm-eval itself; left out where lm-eval is not installed (`make setup-lm-eval`)."""

import json
from types import SimpleNamespace

import pytest

pytest.importorskip("lm_eval")

from builders.harness_requests import LIKELY, UNLIKELY, WritingEngine, requests_to, tokens
from common.errors import BadInput
from evals.harness.lm_eval_model import EngineLM
from evals.harness.lm_eval_run import load_tasks, run_tasks
from evals.harness.lm_eval_scores import suites_of

TASK = """\
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
output_type: {kind}
test_split: test
target_delimiter: ""
doc_to_text: "{{{{q}}}}|"
doc_to_target: "{{{{{target}}}}}"
{more}
"""
CHOICES = """\
doc_to_choice: "{{options}}"
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
"""
TEXTS = """\
generation_kwargs: {until: ["."], do_sample: false, max_gen_toks: 20}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
"""
ROWS = [
    {"q": f"Which colour is number {n}?", "options": ["blue", "red"], "right": right}
    for n, right in enumerate([0, 1, 0])
]


class Letters:
    """A tokenizer whose tokens are characters."""

    eos_token_id, bos_token_id, chat_template = 3, None, "x"
    name_or_path = "some/letters"

    def encode(self, text, add_special_tokens=False):
        return tokens(text)

    def decode(self, ids):
        return "".join(map(chr, [ids] if isinstance(ids, int) else ids))

    def apply_chat_template(self, messages, **options):
        return "".join(f"<{one['role']}>{one['content']}" for one in messages)


def model(engine):
    return EngineLM(requests_to(engine), Letters())


def instances(*arguments):
    return [SimpleNamespace(args=one) for one in arguments]


@pytest.fixture
def folder(tmp_path):
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    for name, kind, target, more in (
        ("colours", "multiple_choice", "right", CHOICES),
        ("said", "generate_until", "options[right]", TEXTS),
    ):
        text = TASK.format(name=name, data=data, kind=kind, target=target, more=more)
        (tmp_path / f"{name}.yaml").write_text(text)
    return str(tmp_path)


def test_tasks_run_on_an_engine_and_samples_are_kept(folder):
    manager = load_tasks(["colours", "said"], folder)
    results = run_tasks(
        model(WritingEngine("blue. red")), manager, ["colours", "said"], None, None, False
    )
    suites = suites_of(results)
    assert suites["lm-eval/colours/acc"]["final"]["score"] == pytest.approx(2 / 3)
    assert suites["lm-eval/said/exact_match"]["final"]["score"] == pytest.approx(2 / 3)
    assert [one["resps"] for one in results["samples"]["said"]] == [[["blue"]]] * 3
    assert [one["acc"] for one in results["samples"]["colours"]] == [1.0, 0.0, 1.0]


def test_unknown_tasks_and_missing_data_are_said(folder, tmp_path):
    with pytest.raises(BadInput, match="lm-eval has no task 'colors'"):
        load_tasks(["colors"], folder)
    (tmp_path / "rows.jsonl").unlink()
    with pytest.raises(BadInput, match="colours: its data cannot be read"):
        load_tasks(["colours"], folder)


def test_whole_texts_are_scored_window_by_window_each_token_once():
    engine = WritingEngine("never", max_model_len=10)
    (total,) = model(engine).loglikelihood_rolling(instances(("x" * 30,)))
    assert total == pytest.approx(30 * UNLIKELY)


def test_texts_of_other_lengths_keep_the_order_and_an_unknown_setting_is_refused():
    ours = model(WritingEngine("blue.sky"))
    long, short = {"until": ["."], "max_gen_toks": 8}, {"until": ["."], "max_gen_toks": 2}
    assert ours.generate_until(instances(("|", long), ("|", short), ("|b", long))) == [
        "blue",
        "bl",
        "lue",
    ]
    with pytest.raises(BadInput, match="num_beams"):
        ours.generate_until(instances(("|", {**long, "num_beams": 4})))


def test_a_chat_is_the_templates_and_a_pair_is_encoded_together():
    ours = model(WritingEngine(" blue"))
    assert ours.apply_chat_template([{"role": "user", "content": "hi"}]) == "<user>hi"
    (found,) = ours.loglikelihood(instances(("q|", " blue")))
    assert found == (pytest.approx(5 * LIKELY), True)
