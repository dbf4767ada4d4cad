"""Regular expressions of a configuration that may be matched: those whose time is bounded whatever the text.

Called by `peft_schema` for every place where PEFT takes a pattern. A backtracking matcher needs exponential time for
repetitions inside repetitions and for long rows of optional parts; both are refused from the text alone, without
matching anything. What real adapters use (names, alternatives, `.*?`, `[0-9]+`) passes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

LONGEST_PATTERN = 4000
MOST_REPEATS = 12  # of a whole pattern: `?`, `{0,3}` and the like as well
MOST_OPEN_REPEATS = 5  # in one alternative: `*`, `+`, `{1,}`, each a factor of the text's length
LARGEST_COUNT = 64
TOKEN = re.compile(
    r"""(?P<class>\[\^?\]?(?:[^\[\]\\]|\\.)*\])  # a set of characters, without sets inside
      | (?P<escape>\\(?:[dDwWsSbB]|[^0-9A-Za-z]))
      | (?P<open>\(\?:|\((?!\?))
      | (?P<close>\))
      | (?P<either>\|)
      | (?P<repeat>(?:[*+?]|\{[0-9]*,?[0-9]*\})\??)
      | (?P<plain>[^\\\[\](){}|*+?])""",
    re.VERBOSE | re.DOTALL,
)
OPEN_REPEAT = re.compile(r"[*+]|\{[0-9]*,\}")


def why_not_simple(pattern: str) -> str:
    """What is wrong with the pattern, as the end of a sentence, or nothing when it may be matched."""
    if len(pattern) > LONGEST_PATTERN:
        return f"has {len(pattern)} characters, and {LONGEST_PATTERN} are the limit"
    place, previous, repeats = 0, "", 0
    groups = [_Group(0)]
    while place < len(pattern):
        token = TOKEN.match(pattern, place)
        if token is None:
            return f"uses {pattern[place : place + 3]!r}, which is not taken from a configuration"
        kind, place = str(token.lastgroup), token.end()
        group = groups[-1]
        if kind == "repeat":
            if fault := _bad_repeat(token[0], previous):
                return fault
            repeats += 1
            group.now += bool(OPEN_REPEAT.match(token[0]))
        elif kind == "open":
            groups.append(_Group(group.now))
        elif kind == "close" and len(groups) > 1:
            groups.pop()
            groups[-1].now = max(group.now, group.most)
        elif kind == "either":
            group.most, group.now = max(group.most, group.now), group.before
        if groups[-1].now > MOST_OPEN_REPEATS or repeats > MOST_REPEATS:
            return "repeats too often"
        previous = kind
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        return f"is not a regular expression ({error})"
    return ""


@dataclass
class _Group:
    """Open repeats on the way to a place inside a group: before it, in this alternative, in the worst one so far."""

    before: int
    now: int = field(init=False)
    most: int = 0

    def __post_init__(self) -> None:
        self.now = self.before


def _bad_repeat(repeat: str, previous: str) -> str:
    if previous == "close" and repeat not in ("?", "??"):
        return f"repeats a group with {repeat!r}"
    if previous in ("", "open", "either", "repeat"):
        return "repeats nothing"
    if any(int(count) > LARGEST_COUNT for count in re.findall("[0-9]+", repeat)):
        return f"repeats {repeat!r} times"
    return ""
