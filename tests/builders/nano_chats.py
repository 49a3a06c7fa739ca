"""`uphill chat` with a real nano run."""

import sys

from builders.nano_runs import uphill
from prompts.schema import read_prompts


def chatted(runs, run, rows):
    """What RL's policy replies to the held-out prompts of an evaluation's answers, each in a
    conversation of its own, while another stage answers too."""
    prompts = {one.id: one for one in read_prompts(run / "01-prompts" / "held_out.parquet")}
    lines = "".join(f"{prompts[row['id']].task}\n/reset\n" for row in rows)
    words = ["chat", "nano:rl", "--compare", "sft", "--runs-dir", str(runs)]
    done = uphill([sys.executable, "-m", "pipeline", *words], input=lines)
    replies = [line.split(": ", 1) for line in done.stdout.splitlines()]
    assert [name for name, _ in replies] == ["nano-rl", "nano-sft"] * len(rows) and not done.stderr
    return [text for name, text in replies if name == "nano-rl"]
