"""The texts of single rows, taken out of a study's files and put back: what an evidence pack can be without them.

Called by `evidence_pack`. Every text of a row (prompt, completion, answers, slice cells, excerpts, examples of the
scorecard) moves from the file into an item of its own, and null stands in its place. An item is canonical JSON with a
salt inside, so that its digest says nothing to somebody who guesses the text: a pack names its items by digest, whether
they are kept with it or not, and one that is deleted takes its salt along. Labels of a closed set and the names of
slices are words of the whole study, and stay. Reads and writes no files.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tsugiki.fingerprint import canonical_json, digest_bytes

Rows = tuple[int, ...]
Place = tuple[Rows, str]  # the rows that a text belongs to, and the JSON pointer to it

CONTRADICTION = "contradiction"  # the one concern whose sentence quotes answers
EXAMPLE_TEXTS = ("prompt", "completion", "messages", "group")


@dataclass(frozen=True)
class Item:
    """What `rows` say in all files: `content` is canonical JSON of {rows, salt, texts {file#pointer: text}}."""

    path: str
    rows: Rows
    content: bytes

    @property
    def digest(self) -> str:
        return digest_bytes(self.content)


def without_texts(files: Mapping[str, bytes], secret: bytes) -> tuple[dict[str, bytes], tuple[Item, ...]]:
    """The files with null for every text of a row, and the items that hold the texts, in the order of their rows.

    `secret` makes the salts: the same secret and files give the same items.
    """
    left: dict[str, bytes] = {}
    texts: dict[Rows, dict[str, Any]] = defaultdict(dict)
    for path, content in files.items():
        value = parsed(path, content)
        for rows, pointer in list(_places(path, value)):
            holder, key = _holder(value, pointer)
            if holder[key] is not None:
                texts[rows][f"{path}#{pointer}"] = holder[key]
                holder[key] = None
        left[path] = serialised(path, value)
    return left, tuple(_item(rows, texts[rows], secret) for rows in sorted(texts))


def with_texts(files: Mapping[str, bytes], items: Sequence[bytes]) -> dict[str, bytes]:
    """The files with the texts of these items put back; raises ValueError where an item does not fit the files."""
    values = {path: parsed(path, content) for path, content in files.items()}
    for content in items:
        for place, text in json.loads(content)["texts"].items():
            path, _, pointer = place.partition("#")
            try:
                holder, key = _holder(values[path], pointer)
                holder[key] = text
            except (KeyError, IndexError, TypeError, ValueError):
                raise ValueError(f"no file has the place {place}") from None
    return {path: serialised(path, value) for path, value in values.items()}


def parsed(path: str, content: bytes) -> Any:
    """JSON as its value, JSON lines as their list, anything else as it is."""
    if path.endswith(".jsonl"):
        return [json.loads(line) for line in content.decode("utf-8").split("\n") if line]
    return json.loads(content) if path.endswith(".json") else content


def serialised(path: str, value: Any) -> bytes:
    """The bytes that a study gives such a file."""
    if path.endswith(".jsonl"):
        return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in value).encode("utf-8")
    if not path.endswith(".json"):
        return bytes(value)
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, indent=2, allow_nan=False)
    return (text + "\n").encode("utf-8")


def _item(rows: Rows, texts: Mapping[str, Any], secret: bytes) -> Item:
    name = "-".join(map(str, rows)) if len(rows) == 1 else f"several-{digest_bytes(canonical_json(list(rows)))[7:23]}"
    salt = hmac.new(secret, name.encode(), hashlib.sha256).hexdigest()
    return Item(f"texts/{name}.json", rows, canonical_json({"rows": list(rows), "salt": salt, "texts": texts}))


def _places(path: str, value: Any) -> Iterator[Place]:
    if path.endswith(".jsonl"):
        for number, line in enumerate(value):
            yield from (((line["row"],), f"/{number}/{name}") for name in EXAMPLE_TEXTS)
    elif path.startswith("trials/"):
        yield from _answers(value, "")
    elif path == "data/slices.json":
        for number, column in enumerate(value["columns"]):
            yield from (((int(row),), f"/columns/{number}/cells/{row}") for row in column["cells"])
    elif path == "data/check.json":
        yield from _findings(value, "")
    elif path == "scorecard.json":
        yield from _findings(value["data_check"], "/data_check")
        for number, example in enumerate(value["examples"]):
            names = ("prompt", "reference", *(f"answers/{name}" for name in example["answers"]))
            yield from (((example["row"],), f"/examples/{number}/{name}") for name in names)


def _answers(value: Any, at: str) -> Iterator[Place]:
    """Wherever a trial's result lists what was answered: test rows, shifted rows, references."""
    if isinstance(value, dict):
        if value.keys() >= {"row", "expected", "predicted"}:
            yield from (((value["row"],), f"{at}/{name}") for name in ("expected", "predicted"))
        for name, inner in value.items():
            yield from _answers(inner, f"{at}/{name}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _answers(inner, f"{at}/{number}")


def _findings(check: Mapping[str, Any], at: str) -> Iterator[Place]:
    for number, finding in enumerate(check["sensitive"]):
        yield (finding["row"],), f"{at}/sensitive/{number}/excerpt"
    for number, concern in enumerate(check["concerns"]):
        if concern["kind"] == CONTRADICTION:
            yield tuple(concern["rows"]), f"{at}/concerns/{number}/message"


def _holder(value: Any, pointer: str) -> tuple[Any, Any]:
    """The object or array that holds the place, and the key in it. Names in a study's files have no slash."""
    *steps, last = pointer.split("/")[1:]
    for step in steps:
        value = value[int(step) if isinstance(value, list) else step]
    if isinstance(value, list):
        return value, int(last)
    if last not in value:
        raise KeyError(last)
    return value, last
