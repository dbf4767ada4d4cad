"""Near duplicates: groups of texts so alike that one in the test set gives away another in the training set.

Called by check.py with the prompts. Compares characters, not words, because Japanese has no spaces. Exact: the index
below only skips pairs that cannot be alike, so the groups equal those of comparing all pairs. No random numbers.

What counts as alike
    Two texts are alike when one becomes the other by at most one edit (insert, delete, replace a character) per ten
    characters of the longer one. A text under 20 characters is alike to its equals only: in part numbers and terms
    (BZM55B10, BZM55B12) a single character is the whole difference. Case, width and white space do not count, nor does
    what all texts begin or end with (a prompt template says nothing about likeness).
    Groups are closed under likeness: a ~ b and b ~ c puts a, b and c together.
Large families
    Such chains can swallow a whole product family and leave nothing to split. A group of more than a tenth of all texts
    is therefore taken apart again at one edit per 20, then per 50 characters, and in the end holds equal texts only;
    the result names the groups this happened to.
How it is fast
    A text of n characters has n - 4 overlapping pieces of 5 characters, and each edit destroys at most 5 of them. So of
    any 5k + 1 pieces of one text at least one survives in a text k edits away. Indexing just the 5k + 1 rarest pieces
    of each text finds every pair; most of them occur nowhere else and are not even indexed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tsugiki.data.keys import Links, text_key

SHORTEST = 20  # characters; below this only equal texts are alike
EDITS_PER = (10, 20, 50)  # one edit per so many characters; the stricter ones for groups that are too large
LARGEST_SHARE = 0.1  # of all texts in one group
LARGEST_SPARED = 10  # a group of up to this many texts is never taken apart
TEMPLATE_FROM = 20  # texts; fewer say too little about what is template
COMPARED = 1_000  # characters of a text that are compared; longer texts are alike if their first 1,000 are
MOST_TEXTS = 50_000  # beyond either limit the search would take minutes; only equal texts are grouped then
MOST_CHARACTERS = 10_000_000
PIECE = 5


@dataclass(frozen=True)
class NearDuplicates:
    groups: tuple[int, ...]  # for each text the position of the first text of its group
    families: tuple[tuple[int, ...], ...]  # groups that were too large and were taken apart more strictly
    searched: bool  # False: too much text, only equal texts are grouped


def near_duplicates(texts: Sequence[str]) -> NearDuplicates:
    keys = without_template([text_key(text).casefold() for text in texts])
    links = Links(len(keys))
    links.link_equal(keys)
    firsts = sorted(set(links.roots()))
    if len(firsts) > MOST_TEXTS or sum(len(keys[first]) for first in firsts) > MOST_CHARACTERS:
        return NearDuplicates(links.roots(), (), searched=False)
    largest = max(LARGEST_SPARED, int(LARGEST_SHARE * len(keys)))
    families: list[tuple[int, ...]] = []
    todo = [(firsts, 0)]
    weights = Counter(links.roots())  # equal texts count for the size of a group
    while todo:
        members, strictness = todo.pop()
        for group in _groups([keys[member] for member in members], EDITS_PER[strictness]):
            positions = [members[index] for index in group]
            if len(positions) > 1 and sum(weights[position] for position in positions) > largest:
                if strictness == 0:
                    families.append(tuple(positions))
                if strictness + 1 < len(EDITS_PER):
                    todo.append((positions, strictness + 1))
                continue
            for position in positions[1:]:
                links.link(positions[0], position)
    return NearDuplicates(links.roots(), tuple(sorted(families)), searched=True)


def without_template(keys: Sequence[str]) -> list[str]:
    """Cut off what all keys begin and end with, and what lies beyond the compared length."""
    if len(keys) < TEMPLATE_FROM:
        return [key[:COMPARED] for key in keys]
    head = _common_head(keys)
    tail = _common_head([key[head:][::-1] for key in keys])
    return [key[head : len(key) - tail][:COMPARED] for key in keys]


def _common_head(keys: Sequence[str]) -> int:
    """What the first and the last in order share, all between them share."""
    pairs = enumerate(zip(min(keys), max(keys), strict=False))
    return next((place for place, (low, high) in pairs if low != high), min(map(len, keys)))


def allowed_edits(length: int, edits_per: int) -> int:
    """Edits between two texts that still count as alike; `length` is that of the longer one."""
    return length // edits_per if length >= SHORTEST else 0


def _groups(keys: Sequence[str], edits_per: int) -> list[list[int]]:
    """Positions of the different `keys`, grouped by likeness, in the order of their first members."""
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.process import extract

    # A text a little under the shortest length may still be alike to one that reaches it.
    long_enough = [index for index in range(len(keys)) if len(keys[index]) >= SHORTEST - SHORTEST // edits_per]
    order = sorted(long_enough, key=lambda index: len(keys[index]))
    lengths = [len(keys[index]) for index in order]
    sorted_keys = [keys[index] for index in order]
    rare = _rare_pieces(sorted_keys, edits_per)
    links = Links(len(keys))
    postings: dict[int, list[int]] = {}
    for place, key in enumerate(sorted_keys):
        edits = allowed_edits(len(key), edits_per)
        start = bisect_left(lengths, len(key) - edits)
        lists = [postings[piece] for piece in rare[place] if piece in postings]
        if edits and lists:
            candidates = _candidates(lists, start, place)
            choices = (
                sorted_keys[start:place] if isinstance(candidates, range) else [sorted_keys[c] for c in candidates]
            )
            for _, _, found in extract(key, choices, scorer=Levenshtein.distance, score_cutoff=edits, limit=None):
                links.link(order[place], order[candidates[found]])
        for piece in rare[place]:
            postings.setdefault(piece, []).append(place)
    groups: dict[int, list[int]] = {}
    for index, root in enumerate(links.roots()):
        groups.setdefault(root, []).append(index)
    return list(groups.values())


def _candidates(lists: Sequence[Sequence[int]], start: int, end: int) -> Sequence[int]:
    """Earlier texts that share a rare piece, or all of fitting length where that is cheaper than joining the lists."""
    if sum(len(places) for places in lists) >= end - start:
        return range(start, end)
    found: set[int] = set()
    for places in lists:
        found.update(places[bisect_left(places, start) :])
    return sorted(found)


def _rare_pieces(keys: Sequence[str], edits_per: int) -> list[list[int]]:
    """For each key its 5k + 1 rarest pieces, without those that no other key has."""
    if not keys:
        return []
    pieces, owners = _pieces(keys)
    _, inverse, counts = np.unique(pieces, return_inverse=True, return_counts=True)
    frequency = counts[inverse]
    order = np.lexsort((inverse, frequency, owners))
    bounds = np.searchsorted(owners[order], np.arange(len(keys) + 1))
    rare: list[list[int]] = []
    for place, key in enumerate(keys):
        # The longer text of a pair decides on the edits; it is at most edits_per / (edits_per - 1) times as long.
        edits = max(allowed_edits(len(key), edits_per), len(key) // (edits_per - 1), SHORTEST // edits_per)
        chosen = order[bounds[place] : bounds[place + 1]][: PIECE * edits + 1]
        rare.append(inverse[chosen[frequency[chosen] > 1]].tolist())
    return rare


def _pieces(keys: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Hashes of all pieces and the key each belongs to; a piece that repeats within a key gets a number as well.

    Numbering repeats makes the pieces of a key a multiset, without which the counting argument would not hold. Equal
    hashes of different pieces cost a comparison, nothing else.
    """
    codes = np.frombuffer("".join(keys).encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    sizes = np.array([len(key) for key in keys], dtype=np.int64)
    owners = np.repeat(np.arange(len(keys)), sizes)
    count = max(0, len(codes) - PIECE + 1)
    hashes = np.zeros(count, dtype=np.uint64)
    for offset in range(PIECE):
        hashes = (hashes ^ codes[offset : offset + count]) * np.uint64(0x9E3779B97F4A7C15)
        hashes ^= hashes >> np.uint64(29)
    inside = owners[:count] == owners[PIECE - 1 :]  # a piece must not reach into the next key
    hashes, owners = hashes[inside], owners[:count][inside]
    order = np.lexsort((hashes, owners))
    hashes, owners = hashes[order], owners[order]
    starts = (
        np.r_[True, (hashes[1:] != hashes[:-1]) | (owners[1:] != owners[:-1])] if len(hashes) else np.zeros(0, bool)
    )
    places = np.arange(len(hashes))
    repeat = places - np.maximum.accumulate(np.where(starts, places, 0)) if len(hashes) else places
    return hashes + repeat.astype(np.uint64) * np.uint64(0xD6E8FEB86659FD93), owners
