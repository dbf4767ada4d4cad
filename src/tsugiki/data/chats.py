"""One chat cell becomes prompt turns and the completion to learn, or a reason why it cannot.

Called by shapes.py for each row. Accepts the OpenAI form (role, content) and the ShareGPT form (from, value), as lists
or as JSON text inside a CSV cell. Never repairs a chat: a turn that is not understood excludes the row.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
}


class MalformedError(ValueError):
    """This row cannot be an example; the message is the reason that the user reads."""


@dataclass(frozen=True)
class Chat:
    prompt: str
    completion: str
    messages: tuple[tuple[str, str], ...] | None


def read_chat(cell: Any, column: str) -> Chat:
    """The last turn must be the assistant's: it is the completion. The turns before it are the prompt.

    The plain prompt is the user's text when it stands alone, otherwise one `role: text` line per turn.
    """
    turns = [_turn(turn, number) for number, turn in enumerate(_list(cell, column), start=1)]
    if not turns:
        raise MalformedError(f"the chat in {column!r} has no turns")
    if turns[-1][0] != "assistant":
        raise MalformedError(f"the chat ends with a {turns[-1][0]} turn, so there is no answer to learn")
    asked = turns[:-1]
    if not any(role == "user" for role, _ in asked):
        raise MalformedError("the chat has no user turn before the answer")
    for number, (role, _) in enumerate(asked, start=1):
        if role == "system" and number > 1:
            raise MalformedError(f"turn {number} is a system turn; only the first one may be")
        if number > 1 and role == asked[number - 2][0]:
            raise MalformedError(f"turns {number - 1} and {number} are both {role} turns")
    if asked[-1][0] != "user":
        raise MalformedError("the answer does not follow a user turn")
    prompt = asked[0][1] if len(asked) == 1 else "\n".join(f"{role}: {content}" for role, content in asked)
    return Chat(prompt, turns[-1][1], tuple(asked))


def alpaca_chat(instruction: str, extra: str, output: str) -> Chat:
    """The instruction, then a blank line and the input where there is one."""
    return Chat(f"{instruction}\n\n{extra}" if extra.strip() else instruction, output, None)


def _list(cell: Any, column: str) -> list[Any]:
    if isinstance(cell, str):
        try:
            cell = json.loads(cell)
        except (ValueError, RecursionError):
            raise MalformedError(f"column {column!r} holds text that is not a JSON list of turns") from None
    if cell is None:
        raise MalformedError(f"column {column!r} is empty")
    if not isinstance(cell, list):
        raise MalformedError(f"column {column!r} does not hold a list of turns")
    return cell


def _turn(turn: Any, number: int) -> tuple[str, str]:
    if not isinstance(turn, dict):
        raise MalformedError(f"turn {number} is not an object with role and content")
    role = turn.get("role", turn.get("from"))
    content = turn.get("content", turn.get("value"))
    if not isinstance(role, str) or role.strip().casefold() not in ROLES:
        raise MalformedError(f"turn {number} has the role {str(role)[:40]!r}, not system, user or assistant")
    if not isinstance(content, str):
        raise MalformedError(f"the content of turn {number} is {'missing' if content is None else 'not plain text'}")
    return ROLES[role.strip().casefold()], content
