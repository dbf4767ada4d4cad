"""Patterns of configurations: those of real adapters pass, those that never end are refused without being matched."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsugiki.records.simple_patterns import why_not_simple

REAL = [
    "all-linear",
    r"^model\.layers\.0\.self_attn\.q_proj",
    ".*decoder.*(SelfAttention|EncDecAttention).*(q|v)$",
    r".*\.(q|v)_proj",
    r"model\.layers\.(0|1|2[0-7])\.mlp\.(up|down)_proj",
    r"(?:.*?(?:language|text).*?(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense).*?"
    r"(?:q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj).*?)"
    r"|(?:\bmodel\.layers\.[\d]{1,}\.(?:self_attn|mlp)\.(?:(?:q_proj|k_proj|v_proj)))",
    "^" + re.escape("model.layers.0.変換-x_proj"),
]
HOSTILE = {
    "nested plus": ("(a+)+$", "repeats a group"),
    "nested star": ("(a*)*b", "repeats a group"),
    "alternatives repeated": ("(a|a)*b", "repeats a group"),
    "alternatives counted": ("(a|aa){1,60}b", "repeats a group"),
    "long row of optional parts": ("a?" * 40 + "a" * 40, "repeats too often"),
    "long row of stars": (".*" * 8 + "x", "repeats too often"),
    "stars after a group": (".*(.*.*|b).*.*.*x", "repeats too often"),
    "stars in a first alternative": ("(.*.*.*.*.*.*|b)x", "repeats too often"),
    "back reference": (r"(a)\1", "not taken"),
    "named group": ("(?P<a>b)", "not taken"),
    "look ahead": ("(?=a)b", "not taken"),
    "condition": ("(a)?(?(1)b|c)", "not taken"),
    "flags": ("(?x)a", "not taken"),
    "comment": ("(?#a)b", "not taken"),
    "possessive": ("a++", "repeats nothing"),
    "twice": ("a**", "repeats nothing"),
    "huge count": ("a{100000}", "times"),
    "huge open count": ("a{99999,}", "times"),
    "unclosed group": ("(a", "not a regular expression"),
    "unopened group": ("a)", "not a regular expression"),
    "unclosed set": ("[a", "not taken"),
    "lone backslash": ("a\\", "not taken"),
    "too long": ("a" * 4001, "limit"),
    "deep groups": ("(" * 1999 + ")" * 1999, ""),
}


@pytest.mark.parametrize("pattern", REAL)
def test_patterns_of_real_adapters_pass(pattern: str) -> None:
    assert why_not_simple(pattern) == ""


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_patterns_are_refused_at_once(kind: str) -> None:
    pattern, reason = HOSTILE[kind]
    start = time.perf_counter()
    fault = why_not_simple(pattern)
    assert fault
    assert reason in fault
    assert time.perf_counter() - start < 0.5


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from("a.b()|*+?{}1,[]\\^$"), max_size=30))
def test_whatever_passes_is_matched_in_time(pattern: str) -> None:
    if why_not_simple(pattern):
        return
    name = "a" * 40 + "c"
    start = time.perf_counter()
    re.match(rf"(.*\.)?({pattern})$", name)
    assert time.perf_counter() - start < 5, pattern
