"""A table becomes examples: what goes in (prompt) and what is to be learned (completion).

Called by the study and by `tsugiki check`, after read.py. Knows four shapes: two columns, chats (`messages`), Alpaca
(`instruction`, `input`, `output`) and ShareGPT (`conversations`). Says in one sentence what it took and why; where two
readings are possible it asks instead of choosing. Never alters a text, never drops a row without a reason.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tsugiki.data.chats import Chat, MalformedError, alpaca_chat, read_chat
from tsugiki.data.column_names import (
    ALPACA_INPUTS,
    ALPACA_OUTPUTS,
    ALPACA_PROMPTS,
    CHAT_NAMES,
    COMPLETION_NAMES,
    PAIRS,
    PROMPT_NAMES,
    SHAREGPT_NAMES,
)
from tsugiki.data.read import Table
from tsugiki.data.rows import Row, name_columns
from tsugiki.errors import DataError

Shape = Literal["columns", "messages", "alpaca", "sharegpt"]

ASK = "Say which with --prompt-column and --completion-column."


@dataclass(frozen=True)
class Columns:
    """Columns named by the user; what is None is guessed (prompt, completion) or not used (group)."""

    prompt: str | None = None
    completion: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class Example:
    row: int
    prompt: str
    completion: str
    messages: tuple[tuple[str, str], ...] | None = None  # (role, content) of the prompt turns of a chat
    group: str | None = None  # rows of one group never stand on both sides of a split


@dataclass(frozen=True)
class Exclusion:
    row: int
    reason: str


@dataclass(frozen=True)
class Guess:
    """How the table was read. `excluded` are rows that have no example because their chat or cell is malformed."""

    shape: Shape
    columns: tuple[str, ...]  # the columns that are used, prompt side first
    unused: tuple[str, ...]
    sentence: str
    excluded: tuple[Exclusion, ...]


@dataclass(frozen=True)
class _Reading:
    shape: Shape
    used: tuple[str, ...]
    why: str
    read: Callable[[Row], Chat]


def to_examples(table: Table, columns: Columns | None = None) -> tuple[tuple[Example, ...], Guess]:
    """One example per row that can be read; the others stand in `Guess.excluded`. Empty cells become empty texts."""
    columns = columns or Columns()
    for wanted in (columns.prompt, columns.completion, columns.group):
        if wanted is not None:
            table.column(wanted)  # a wrong name is an error that lists the right ones
    reading = _reading(table, columns)
    examples: list[Example] = []
    excluded: list[Exclusion] = []
    used = (*reading.used, columns.group) if columns.group else reading.used
    for number, row in zip(table.row_numbers, table.rows, strict=True):
        try:
            _refuse_unsaved(table, number, used)
            if all(cell in (None, "") for cell in row.values()):
                raise MalformedError("the row is blank")
            chat = reading.read(row)
            group = _text(row, columns.group) or None if columns.group else None
        except MalformedError as fault:
            excluded.append(Exclusion(number, str(fault)))
            continue
        if table.format in ("csv", "tsv", "xlsx") and all(row.get(column) == column for column in reading.used):
            excluded.append(Exclusion(number, "repeats the header"))  # files joined end to end
            continue
        examples.append(Example(number, chat.prompt, chat.completion, chat.messages, group))
    unused = tuple(column for column in table.columns if column not in used)
    rest = f" Not used: {', '.join(unused)}." if unused else ""
    return tuple(examples), Guess(reading.shape, used, unused, reading.why + rest, tuple(excluded))


def _reading(table: Table, columns: Columns) -> _Reading:
    if columns.prompt is None and columns.completion is None:
        special = _chat_reading(table) or _alpaca_reading(table)
        if special is not None:
            return special
    prompt, completion, why = _pair(table, columns)
    if prompt == completion:
        raise DataError(f"The column {prompt!r} cannot be prompt and completion at once.", fix=ASK)
    return _Reading(
        "columns", (prompt, completion), why, lambda row: Chat(_text(row, prompt), _text(row, completion), None)
    )


def _chat_reading(table: Table) -> _Reading | None:
    shapes: tuple[tuple[Shape, tuple[str, ...]], ...] = (("messages", CHAT_NAMES), ("sharegpt", SHAREGPT_NAMES))
    for shape, names in shapes:
        column = _one_of(table.columns, names)
        if column is not None:
            sentence = (
                f"Read as chats: the column {column!r} holds turns; the last assistant turn is learned, the earlier "
                "ones are the prompt."
            )
            return _Reading(shape, (column,), sentence, _chat_reader(column))
    return None


def _chat_reader(column: str) -> Callable[[Row], Chat]:
    return lambda row: read_chat(row.get(column), column)


def _alpaca_reading(table: Table) -> _Reading | None:
    instruction, output = _one_of(table.columns, ALPACA_PROMPTS), _one_of(table.columns, ALPACA_OUTPUTS)
    if instruction is None or output is None:
        return None
    extra = _one_of(table.columns, ALPACA_INPUTS)
    used = (instruction, extra, output) if extra else (instruction, output)
    joined = f"{instruction!r} and {extra!r}, a blank line between them," if extra else f"{instruction!r}"
    sentence = f"Read as Alpaca instructions: {joined} make the prompt, {output!r} is learned."

    def read(row: Row) -> Chat:
        return alpaca_chat(_text(row, instruction), _text(row, extra) if extra else "", _text(row, output))

    return _Reading("alpaca", used, sentence, read)


def _pair(table: Table, columns: Columns) -> tuple[str, str, str]:
    """Prompt column, completion column, and why these two."""
    if columns.prompt is not None and columns.completion is not None:
        return columns.prompt, columns.completion, _sentence(columns.prompt, columns.completion, "as asked")
    free = [column for column in table.columns if column not in (columns.prompt, columns.completion, columns.group)]
    if columns.prompt is None and columns.completion is None:
        pairs = [pair for names in PAIRS if (pair := _named_pair(free, names)) is not None]
        if len(pairs) == 1:
            return *pairs[0], _sentence(*pairs[0], "by their names")
        if len(pairs) > 1:
            both = " or ".join(f"{first!r} and {second!r}" for first, second in pairs)
            raise DataError(f"{table.path.name} can be read in more than one way: {both}.", fix=ASK)
    prompts = [columns.prompt] if columns.prompt else _matching(free, PROMPT_NAMES)
    completions = [columns.completion] if columns.completion else _matching(free, COMPLETION_NAMES)
    if len(prompts) == 1 and len(completions) == 1 and prompts != completions:
        return prompts[0], completions[0], _sentence(prompts[0], completions[0], "by their names")
    by_elimination = _by_elimination(free, columns, prompts, completions)
    if by_elimination is not None:
        beside = f" beside the group {columns.group!r}" if columns.group else ""
        return *by_elimination, _sentence(
            *by_elimination, f"the only two columns{beside}, one of them known by its name"
        )
    raise _unclear(table, columns, prompts, completions)


def _by_elimination(
    free: Sequence[str], columns: Columns, prompts: Sequence[str], completions: Sequence[str]
) -> tuple[str, str] | None:
    """With two columns in all, knowing one is knowing both, unless the group may have taken the other."""
    if columns.group and _key(columns.group) in (COMPLETION_NAMES if prompts else PROMPT_NAMES):
        return None
    named = [column for column in (columns.prompt, columns.completion) if column]
    if len(free) + len(named) != 2:
        return None
    everything = [*named, *free]
    if len(prompts) == 1 and not completions:
        return prompts[0], next(column for column in everything if column != prompts[0])
    if len(completions) == 1 and not prompts:
        return next(column for column in everything if column != completions[0]), completions[0]
    return None


def _unclear(table: Table, columns: Columns, prompts: Sequence[str], completions: Sequence[str]) -> DataError:
    """What was recognised, and what is missing or may be meant in more than one way."""
    name = table.path.name
    if len(table.columns) == 1:
        return DataError(
            f"{name} has one column only ({table.columns[0]!r}); a prompt and a completion are needed.",
            fix=_second_column(table),
        )
    group = f" {columns.group!r} is used as the group." if columns.group else ""
    sides = (("prompt", columns.prompt, prompts), ("completion", columns.completion, completions))
    known = [
        f"{found[0]!r} is {'given' if given else 'taken'} as the {role}"
        for role, given, found in sides
        if len(found) == 1
    ]
    also = f" {known[0]}." if known else ""
    for role, _, found in sides:
        if len(found) > 1:
            return DataError(
                f"{name} has several columns that may be the {role}: {name_columns(found)}.{also}{group}",
                fix=f"Say which with --{role}-column." if known else ASK,
            )
    if known:
        missing = "completion" if prompts else "prompt"
        left = [column for column in table.columns if column not in (*prompts, *completions, columns.group)]
        others = f"the other columns are: {name_columns(left)}" if left else "there is no other column"
        return DataError(
            f"In {name} {known[0]}; which column is the {missing}?{group}",
            fix=f"Say so with --{missing}-column; {others}.",
        )
    return DataError(
        f"None of the column names of {name} tells prompt from completion: {name_columns(table.columns)}.{group}",
        fix=f"{ASK} If the first row already is data, put a header above it.",
    )


def _second_column(table: Table) -> str:
    if table.other_sheets:
        return f"Choose another sheet with --sheet: {', '.join(map(repr, table.other_sheets))}."
    return "Add the second column" + (
        " to the sheet." if table.format == "xlsx" else ", or check the separator between the cells."
    )


def _sentence(prompt: str, completion: str, why: str) -> str:
    return f"Prompt is the column {prompt!r}, completion is {completion!r} ({why})."


def _named_pair(columns: Sequence[str], names: tuple[str, str]) -> tuple[str, str] | None:
    first, second = _one_of(columns, names[:1]), _one_of(columns, names[1:])
    return (first, second) if first is not None and second is not None else None


def _one_of(columns: Sequence[str], names: Sequence[str]) -> str | None:
    """The first of `names`, in their order, that a column bears."""
    by_key = {_key(column): column for column in columns}
    return next((by_key[name] for name in names if name in by_key), None)


def _matching(columns: Sequence[str], names: Collection[str]) -> list[str]:
    return [column for column in columns if _key(column) in names]


def _key(column: str) -> str:
    """`Ｑｕｅｓｔｉｏｎ `, `question` and `QUESTION` are one name."""
    return unicodedata.normalize("NFKC", column).strip().casefold()


def _refuse_unsaved(table: Table, number: int, used: Collection[str]) -> None:
    for column in table.unsaved.get(number, ()):
        if column in used:
            raise MalformedError(
                f"the formula in column {column!r} has no saved value; open the file in Excel and save it"
            )


def _text(row: Row, column: str) -> str:
    cell: Any = row.get(column)
    if cell is None:
        return ""
    if not isinstance(cell, str):
        raise MalformedError(
            f"column {column!r} holds a {'list' if isinstance(cell, list) else 'nested object'}, not text"
        )
    return cell
