from typing import Any

import pytest

from tsugiki.data.chats import Chat, MalformedError, alpaca_chat, read_chat


def turns(*pairs: tuple[Any, Any]) -> list[dict[str, Any]]:
    return [{"role": role, "content": content} for role, content in pairs]


def test_the_last_assistant_turn_is_learned_and_the_rest_is_the_prompt() -> None:
    chat = read_chat(
        turns(("system", "丁寧に"), ("user", "q1"), ("assistant", "a1"), ("user", "q2"), ("assistant", "a2")),
        "messages",
    )
    assert chat == Chat(
        prompt="system: 丁寧に\nuser: q1\nassistant: a1\nuser: q2",
        completion="a2",
        messages=(("system", "丁寧に"), ("user", "q1"), ("assistant", "a1"), ("user", "q2")),
    )


def test_a_single_question_is_its_own_plain_prompt() -> None:
    assert read_chat(turns(("user", "q"), ("assistant", "a")), "messages").prompt == "q"


def test_other_names_of_the_roles() -> None:
    chat = read_chat([{"from": "Human", "value": "q"}, {"from": "gpt", "value": "a"}], "conversations")
    assert chat.messages == (("user", "q"),)


def test_alpaca_leaves_out_a_blank_input() -> None:
    assert alpaca_chat("i", " \n", "o") == Chat("i", "o", None)


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (None, "is empty"),
        ([], "has no turns"),
        ({"role": "user"}, "does not hold a list of turns"),
        ("[" * 100_000, "not a JSON list"),
        (["hello"], "turn 1 is not an object"),
        (turns(("narrator", "x")), "turn 1 has the role 'narrator'"),
        (turns((None, "x")), "turn 1 has the role 'None'"),
        (turns(("user", None), ("assistant", "a")), "content of turn 1 is missing"),
        (turns(("user", [{"type": "image"}]), ("assistant", "a")), "content of turn 1 is not plain text"),
        (turns(("user", "q")), "ends with a user turn"),
        (turns(("assistant", "a")), "no user turn"),
        (turns(("user", "q"), ("user", "q"), ("assistant", "a")), "turns 1 and 2 are both user turns"),
        (turns(("user", "q"), ("assistant", "a"), ("assistant", "b")), "does not follow a user turn"),
        (turns(("user", "q"), ("system", "s"), ("assistant", "a")), "turn 2 is a system turn"),
    ],
)
def test_a_chat_that_is_not_understood_says_why(cell: Any, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        read_chat(cell, "messages")
