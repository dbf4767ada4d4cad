"""Train, dev and test in the order of time: the oldest rows train, the next ones tune, the newest ones test.

Called by the study in place of split.split where the user named a time column. A random split says how good a model is
on cases like those it has seen; this one says how good it is on cases that came later, which is what it will meet.

How it is cut: a group of rows that stay together (split.py says why) goes by its newest row. Groups are lined up by
that moment, and a border never falls between two groups of one moment, so it moves to where the part comes nearest to
its share. So no row of train is as new as the newest row of any group in dev or test. The one exception is told:
older rows of a group whose newest row lies behind the border go with it (`Timeline.older`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import accumulate

from tsugiki.data.dates import moment_text
from tsugiki.data.rows import counted
from tsugiki.data.shapes import Example
from tsugiki.data.split import Splits, Timeline, proven, refuse_few
from tsugiki.errors import DataError

Blocks = list[
    tuple[datetime, list[int]]
]  # moment, places of all examples whose group's newest row has it; oldest first


def time_split(
    examples: Sequence[Example],
    groups: Sequence[int],
    moments: Mapping[int, datetime],
    *,
    test_share: float,
    dev_share: float,
) -> Splits:
    """Use every example; `moments` maps row numbers to times. A part may be off its share by a factor of two."""
    count = len(examples)
    refuse_few(count)
    blocks = _blocks(examples, groups, moments)
    parts: dict[str, list[int]] = {}
    starts: dict[str, datetime] = {}
    for name, share in (("test", test_share), ("dev", dev_share)):
        wanted = max(1, round(share * count))
        taken, rest = _newest(blocks, wanted)
        places = [place for _, block in taken for place in block]
        if not rest or not wanted <= 2 * len(places) <= 4 * wanted:
            raise _too_lumpy(name, wanted, len(places), blocks)
        parts[name], starts[name], blocks = places, taken[0][0], rest
    parts["train"] = [place for _, block in blocks for place in block]
    expected = count - round(test_share * count) - round(dev_share * count)
    if 2 * len(parts["train"]) < expected:
        raise _too_lumpy("train", expected, len(parts["train"]), blocks)
    found = proven(examples, groups, parts)
    newest = max(moments[example.row] for example in found.train)
    older = tuple(example.row for example in (*found.dev, *found.test) if moments[example.row] <= newest)
    return replace(found, timeline=Timeline(starts["dev"], starts["test"], tuple(sorted(older))))


def _blocks(examples: Sequence[Example], groups: Sequence[int], moments: Mapping[int, datetime]) -> Blocks:
    newest: dict[int, datetime] = {}
    for example, group in zip(examples, groups, strict=True):
        newest[group] = max(moments[example.row], newest.get(group, datetime.min))
    blocks: dict[datetime, list[int]] = defaultdict(list)
    for place, group in enumerate(groups):
        blocks[newest[group]].append(place)
    return sorted(blocks.items())


def _newest(blocks: Blocks, wanted: int) -> tuple[Blocks, Blocks]:
    """As many blocks from the end as come nearest to the wanted rows, at least one, and the rest."""
    ends = list(accumulate(len(block) for _, block in reversed(blocks)))[::-1]  # rows from each block on
    start = min(range(len(blocks)), key=lambda place: (abs(ends[place] - wanted), -place))
    return blocks[start:], blocks[:start]


def _too_lumpy(name: str, wanted: int, got: int, blocks: Blocks) -> DataError:
    moment, largest = max(blocks, key=lambda block: len(block[1]))
    together = "rows of one moment, and groups that end at it, stay together"
    return DataError(
        f"The {name} part would hold {got} instead of about {wanted} rows, because {together} "
        f"({counted(len(blocks), 'moment')} in all, {moment_text(moment)} alone with {counted(len(largest), 'row')}).",
        fix="Give times of day, choose a finer group column, or name the parts with --split-column.",
    )
