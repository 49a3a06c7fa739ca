"""`python -m evals.written` writes the prompts of the suites that this project wrote."""

from common.files import write_text
from evals.suite_file import FOLDER
from evals.written import bias, instructions, sums, sycophancy
from evals.written.row import as_lines

FILES = {
    "bias.jsonl": bias.rows,
    "instructions.jsonl": instructions.rows,
    "multilingual_sums.jsonl": sums.rows,
    "sycophancy.jsonl": sycophancy.rows,
}
"""The files beside the suites, and what writes each."""

if __name__ == "__main__":
    for name, rows in FILES.items():
        write_text(FOLDER / name, as_lines(rows()))
