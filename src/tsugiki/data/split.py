"""Train, dev and test: grouped, stratified where labels are closed, the same everywhere, and proven free of leaks.

Called by the study after check.py, which gives the examples and their groups. Never splits a group between parts.

How a split is drawn: every example gets a ticket, a hash of the seed and its texts, so neither the order of the file
nor the platform nor a library's random numbers matter. Groups are lined up by ticket; with closed labels so that every
stretch of the line holds each label in its share. The test part is the head of the line, then dev, then train; a group
too large for what is left of a part is passed over and goes to a later part. A label with a single group comes last:
it can be learned, but not tested. Subsets of the training part are heads of such a line too, which nests them.

A split of the user's own may have a fourth part, the shifted rows: from another plant, a later year, another source. It
is tested beside the test part, and nothing is learned or chosen from it. time_split.py draws by time instead.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from tsugiki.data.keys import Links, text_key
from tsugiki.data.rows import NAMED_ROWS, counted, shown
from tsugiki.data.shapes import Example
from tsugiki.errors import DataError

FEWEST_ROWS = 20
PART_NAMES = {
    "train": "train",
    "training": "train",
    "学習": "train",
    "訓練": "train",
    "dev": "dev",
    "valid": "dev",
    "validation": "dev",
    "val": "dev",
    "検証": "dev",
    "test": "test",
    "eval": "test",
    "評価": "test",
    "テスト": "test",
    "shift": "shift",
    "shifted": "shift",
    "シフト": "shift",
    "変化後": "shift",
}


@dataclass(frozen=True)
class Timeline:
    """Where a split by time was cut; `older`: rows of dev and test that are no newer than the newest of train."""

    dev_from: datetime
    test_from: datetime
    older: tuple[int, ...]


@dataclass(frozen=True)
class Splits:
    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    test: tuple[Example, ...]
    train_groups: tuple[int, ...]  # one per training example, for nested_subsets
    crossing: tuple[int, ...] = ()  # test rows that are nearly equal to rows of other parts, where the user split
    shift: tuple[Example, ...] = ()  # the shifted rows, where the user's split has any
    shift_crossing: tuple[int, ...] = ()  # those of them that are nearly equal to rows of train or dev
    timeline: Timeline | None = None  # of a split by time


@dataclass(frozen=True)
class Leak:
    train_row: int
    test_row: int
    reason: str


def split(
    examples: Sequence[Example],
    groups: Sequence[int],
    *,
    test_share: float,
    dev_share: float,
    seed: int,
    closed: bool,
) -> Splits:
    """Use every example; the parts come as close to their shares as whole groups allow. A share of 0 is no part."""
    count = len(examples)
    refuse_few(count)
    line = _line(examples, groups, seed=seed, closed=closed, single_last=True)
    shares = {"test": test_share, "dev": dev_share}
    wanted = {name: max(1, round(share * count)) if share else 0 for name, share in shares.items()}
    parts: dict[str, list[int]] = {}
    for name, target in wanted.items():
        parts[name], line = _take(line, target)
        if 2 * len(parts[name]) < target:
            raise _too_lumpy(groups, name, target, len(parts[name]))
    parts["train"] = [place for group in line for place in group]
    if 2 * len(parts["train"]) < count - sum(wanted.values()):
        raise _too_lumpy(groups, "train", count - sum(wanted.values()), len(parts["train"]))
    return proven(examples, groups, parts)


def refuse_few(count: int) -> None:
    if count < FEWEST_ROWS:
        raise DataError(
            f"There {'is' if count == 1 else 'are'} {counted(count, 'usable example')}, at least {FEWEST_ROWS} are "
            "needed to train and to test.",
            fix=f"Add at least {counted(FEWEST_ROWS - count, 'row')}, or repair the excluded ones.",
        )


def given_splits(
    train: Sequence[Example], dev: Sequence[Example], test: Sequence[Example], shift: Sequence[Example] = ()
) -> Splits:
    """Parts that the user made (separate files, or a split column): taken as they are, unless they leak."""
    for name, part in (("train", train), ("dev", dev), ("test", test)):
        if not part:
            raise DataError(f"The {name} part has no usable rows.", fix="Each of train, dev and test needs rows.")
    for names, first, second in (
        (("train", "test"), train, test),
        (("dev", "test"), dev, test),
        (("train", "dev"), train, dev),
        (("train", "shift"), train, shift),
        (("dev", "shift"), dev, shift),
    ):
        leaks = leakage(first, second)
        if leaks:
            pairs = [f"{names[0]} row {leak.train_row} and {names[1]} row {leak.test_row}" for leak in leaks]
            more = f" and {len(pairs) - NAMED_ROWS} more" if len(pairs) > NAMED_ROWS else ""
            raise DataError(
                f"The same prompt or group stands in {names[0]} and in {names[1]}: "
                f"{', '.join(pairs[:NAMED_ROWS])}{more}.",
                fix=f"Remove these rows from {names[0]} or from {names[1]}.",
            )
    return Splits(tuple(train), tuple(dev), tuple(test), _plain_groups(train), shift=tuple(shift))


def split_by_column(examples: Sequence[Example], groups: Sequence[int], parts: Mapping[int, object]) -> Splits:
    """Parts named in a column of the file; `parts` maps row numbers to its cells (Table.column).

    Equal prompts on both sides are refused; groups of similar ones that cross are the user's choice, and are named.
    """
    chosen: dict[str, list[Example]] = {"train": [], "dev": [], "test": [], "shift": []}
    for example in examples:
        cell = parts.get(example.row)
        name = PART_NAMES.get(text_key(cell).casefold()) if isinstance(cell, str) else None
        if name is None:
            value = shown(cell) if isinstance(cell, str) else "nothing"
            raise DataError(
                f"Row {example.row} says {value} in the split column.", fix=f"Use one of: {', '.join(PART_NAMES)}."
            )
        chosen[name].append(example)
    found = given_splits(chosen["train"], chosen["dev"], chosen["test"], chosen["shift"])
    group_of = {example.row: group for example, group in zip(examples, groups, strict=True)}
    learned = {group_of[example.row] for example in (*found.train, *found.dev)}
    crossing, shift_crossing = (
        tuple(example.row for example in part if group_of[example.row] in learned) for part in (found.test, found.shift)
    )
    return replace(found, crossing=crossing, shift_crossing=shift_crossing)


def nested_subsets(
    train: Sequence[Example],
    sizes: Sequence[int],
    *,
    seed: int,
    groups: Sequence[int] | None = None,
    closed: bool = False,
) -> dict[int, tuple[Example, ...]]:
    """For each size so many training examples, each subset inside the next; at most one group of a subset is cut."""
    for size in sizes:
        if not 1 <= size <= len(train):
            raise DataError(
                f"A training subset of {size} rows was asked for, but there are {len(train)} training rows.",
                fix=f"Ask for 1 to {len(train)}.",
            )
    line = _line(train, groups or _plain_groups(train), seed=seed, closed=closed, single_last=False)
    places = [place for group in line for place in group]
    return {size: tuple(train[place] for place in places[:size]) for size in sorted(set(sizes))}


def leakage(train: Sequence[Example], test: Sequence[Example]) -> tuple[Leak, ...]:
    """Every test row whose prompt (up to width and white space) or group also stands in `train`."""
    prompts: dict[str, int] = {}
    groups: dict[str, int] = {}
    for example in train:
        prompts.setdefault(text_key(example.prompt), example.row)
        if example.group is not None:
            groups.setdefault(example.group, example.row)
    leaks: list[Leak] = []
    for example in test:
        if (row := prompts.get(text_key(example.prompt))) is not None:
            leaks.append(Leak(row, example.row, "same prompt"))
        elif example.group is not None and (row := groups.get(example.group)) is not None:
            leaks.append(Leak(row, example.row, f"same group {example.group!r}"))
    return tuple(leaks)


def _line(
    examples: Sequence[Example], groups: Sequence[int], *, seed: int, closed: bool, single_last: bool
) -> list[list[int]]:
    """Groups (positions of their examples) in the order in which they are dealt."""
    tickets = [_ticket(seed, text_key(example.prompt), text_key(example.completion)) for example in examples]
    members: dict[int, list[int]] = defaultdict(list)
    for place, group in enumerate(groups):
        members[group].append(place)
    line = [sorted(places, key=lambda place: (tickets[place], examples[place].row)) for places in members.values()]
    line.sort(key=lambda places: (tickets[places[0]], examples[places[0]].row))
    if not closed:
        return line
    strata: dict[str, list[list[int]]] = defaultdict(list)
    for places in line:
        strata[_label(examples, places)].append(places)
    placed: list[tuple[float, str, list[int]]] = []
    for label, stratum in strata.items():
        # A random start in each stratum gives every label its share of every stretch, on average exactly.
        start = int(_ticket(seed, "start", label)[:13], 16) / 16**13
        total = sum(map(len, stratum))
        before = 0
        for places in stratum:
            position = 2.0 if single_last and len(stratum) == 1 else (before + start * len(places)) / total
            placed.append((position, tickets[places[0]], places))
            before += len(places)
    return [places for _, _, places in sorted(placed)]


def _ticket(seed: int, *texts: str) -> str:
    content = "\x1f".join((str(seed), *texts)).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _label(examples: Sequence[Example], places: Sequence[int]) -> str:
    counts = Counter(text_key(examples[place].completion) for place in places)
    return min(counts, key=lambda label: (-counts[label], label))


def _take(line: Sequence[list[int]], target: int) -> tuple[list[int], list[list[int]]]:
    """Whole groups from the head of the line while they fit, and the rest of the line."""
    taken: list[int] = []
    rest: list[list[int]] = []
    for places in line:
        if len(taken) + len(places) <= target:
            taken.extend(places)
        else:
            rest.append(places)
    return taken, rest


def _too_lumpy(groups: Sequence[int], name: str, target: int, got: int) -> DataError:
    sizes = sorted(Counter(groups).values(), reverse=True)
    return DataError(
        f"The {name} part would hold {got} instead of about {target} rows, because groups of equal or similar prompts "
        f"stay whole: {counted(len(groups), 'row')} {'forms' if len(groups) == 1 else 'form'} "
        f"{counted(len(sizes), 'group')}, the largest with {counted(sizes[0], 'row')}.",
        fix="Add rows with other prompts, or choose a finer group column.",
    )


def proven(examples: Sequence[Example], groups: Sequence[int], parts: Mapping[str, Sequence[int]]) -> Splits:
    """Build the parts in file order and prove that nothing crosses; a crossing would be our own bug."""
    owner: dict[int, str] = {}
    for name, places in parts.items():
        for place in places:
            assert owner.setdefault(groups[place], name) == name, f"group {groups[place]} is split"
    train, dev, test = (tuple(examples[place] for place in sorted(parts[name])) for name in ("train", "dev", "test"))
    for first, second in ((train, test), (dev, test), (train, dev)):
        leaks = leakage(first, second)
        if leaks:
            raise DataError(
                f"Rows {leaks[0].train_row} and {leaks[0].test_row} ({leaks[0].reason}) are in different groups, so "
                "the split would leak.",
                fix="Use the groups that check() returned for these examples.",
            )
    return Splits(train, dev, test, tuple(groups[place] for place in sorted(parts["train"])))


def _plain_groups(examples: Sequence[Example]) -> tuple[int, ...]:
    links = Links(len(examples))
    links.link_equal(text_key(example.prompt) for example in examples)
    links.link_equal(example.group for example in examples)
    return links.roots()
