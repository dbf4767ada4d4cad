"""What counts as the same text: comparison keys for duplicates, splits and labels.

Called by duplicates, check and split. A key is never shown, trained on or written anywhere; the text stays as it is.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

from tsugiki.width import folded


def text_key(text: str) -> str:
    """Equal for texts that differ only in full or half width, in the amount of white space, or at the ends."""
    return folded(text)


def closed_labels(completions: Sequence[str]) -> bool:
    """Whether the completions are labels from a closed set rather than free text.

    The rule, on comparison keys: at least two different completions, at most one per three rows, none longer than 100
    characters, and 90 % of the rows share their completion with another row.
    """
    counts: dict[str, int] = {}
    for completion in completions:
        key = text_key(completion)
        counts[key] = counts.get(key, 0) + 1
    if len(counts) < 2 or 3 * len(counts) > len(completions) or max(map(len, counts)) > 100:
        return False
    return sum(count for count in counts.values() if count > 1) >= 0.9 * len(completions)


class Links:
    """Union-find over 0..n-1. A group is named by its smallest member, so the order of links does not matter."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def root(self, item: int) -> int:
        parent = self._parent
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    def link(self, first: int, second: int) -> None:
        low, high = sorted((self.root(first), self.root(second)))
        self._parent[high] = low

    def link_equal(self, keys: Iterable[Hashable]) -> None:
        """Link all items whose key is the same; None is no key."""
        first: dict[Hashable, int] = {}
        for item, key in enumerate(keys):
            if key is not None:
                self.link(first.setdefault(key, item), item)

    def roots(self) -> tuple[int, ...]:
        return tuple(self.root(item) for item in range(len(self._parent)))
