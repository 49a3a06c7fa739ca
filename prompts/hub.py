"""The rows of a data set on the Hugging Face hub, read by the `datasets` library, which keeps a
copy on disk. Without a network only that copy is read."""

import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from common.errors import BadInput
from prompts.files import HubRows
from prompts.formats import PlacedRow, numbered, of_split

SECONDS = 5
"""How long the hub has to answer at all."""


def hub_rows(source: HubRows) -> Iterator[PlacedRow]:
    """The rows of the named split. Raises BadInput if the data set cannot be had."""
    import datasets

    options: dict[str, Any] = {"name": source.config, "revision": source.revision}
    options["download_config"] = datasets.DownloadConfig(max_retries=1)
    offline = _offline()
    if offline:
        datasets.config.HF_HUB_OFFLINE = True
    try:
        loaded = datasets.load_dataset(source.path, split=source.split, **options)
    except Exception as error:  # the library and its many dependencies raise their own
        if offline:
            raise BadInput(
                f"{source.described}: the hub cannot be reached ({offline}), and there is no copy",
                "download its files where a network is, and name them with `source: file`",
            ) from error
        raise BadInput(
            f"{source.described}: the hub does not give it: {_first_line(error)}",
            "correct the source's `path`, `config`, `split` or `revision`",
        ) from error
    yield from numbered(of_split(loaded, source.described, source.split))


def _offline() -> str:
    """Why the hub cannot be reached; empty if it can."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        urllib.request.urlopen(constants.ENDPOINT, timeout=SECONDS).close()
    except urllib.error.HTTPError:
        return ""  # it answered
    except (OSError, ValueError) as error:
        return f"{constants.ENDPOINT}: {getattr(error, 'reason', error)}"
    return ""


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).split("\n", 1)[0]
