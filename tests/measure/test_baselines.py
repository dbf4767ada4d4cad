import pytest

from tsugiki.measure.baselines import copy_answers, majority_answer


@pytest.mark.parametrize(
    ("prompts", "answers"),
    [
        (["用語: テレプリンタ\n標準表記: ", "用語: テレビ\n標準表記: "], ["テレプリンタ", "テレビ"]),
        (["Part: Zener Diode\nClass: ", "Part: Zener Switch\nClass: "], ["Diode", "Switch"]),
        (["Word: chat\nPhonemes: ", "Word: char\nPhonemes: "], ["chat", "char"]),
        (["one thing", "another thing"], ["one", "another"]),
        (["plain", "text"], ["plain", "text"]),
        ([" only one "], ["only one"]),
        (["same", "same"], ["same", "same"]),
        (["a: ", "a: b"], ["", "b"]),
        ([], []),
    ],
)
def test_copy_hands_the_input_back_without_the_shared_frame(prompts, answers):
    assert copy_answers(prompts) == answers


def test_majority_is_the_most_frequent_and_the_earliest_of_equals():
    assert majority_answer(["b", "a", " a", "c"]) == "a"
    assert majority_answer(["b", "a"]) == "b"
    assert majority_answer([]) is None
