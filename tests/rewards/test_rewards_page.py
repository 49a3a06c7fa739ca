"""The example of docs/your_own_rewards.md, as it stands there."""

import re
from pathlib import Path

from builders.recipe_texts import write_rows
from pipeline.planning.plan import build_plan
from pipeline.recipe.load import load_recipe

PAGE = (Path(__file__).parents[2] / "docs" / "your_own_rewards.md").read_text()


def block(language):
    """The first code block of a language."""
    found = re.search(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found.group(1)


def test_the_example_runs_and_prints_what_the_page_says(tmp_path, monkeypatch, uphill, caplog):
    monkeypatch.chdir(tmp_path)
    Path("my_reward.py").write_text(block("python"))
    Path("answers.jsonl").write_text(block("json"))
    code, out, err = uphill(*block("sh").split()[1:])
    assert code == 0 and "1 verifier_crash" in err and "KeyError: 'most_words'" in caplog.text
    assert [line.split() for line in out.splitlines()] == [
        line.split() for line in block("text").splitlines()
    ]
    write_rows(Path("my_prompts.jsonl"), "ab", metadata={"most_words": 3})
    Path("short.yaml").write_text(block("yaml"))
    assert [node.id for node in build_plan(load_recipe(Path("short.yaml"))).nodes][-1] == "rl"
