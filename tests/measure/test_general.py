import unicodedata

import pytest

from tsugiki.measure.general import general_passages


@pytest.mark.parametrize(("language", "shortest", "longest"), [("en", 300, 700), ("ja", 100, 260)])
def test_passages_are_many_of_even_length_and_all_different(language, shortest, longest):
    passages = general_passages(language)
    assert len(passages) >= 24
    assert len({passage[:20] for passage in passages}) == len(passages)
    assert all(shortest <= len(passage) <= longest for passage in passages)
    assert all("\n" not in passage and passage == passage.strip() for passage in passages)


def test_each_file_is_in_its_language():
    assert all(passage.isascii() for passage in general_passages("en"))
    for passage in general_passages("ja"):
        kana = sum("HIRAGANA" in unicodedata.name(mark, "") for mark in passage)
        assert kana / len(passage) > 0.3
