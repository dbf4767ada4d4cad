"""Recorded prompts with the token ids that a tokenizer makes of them: proof that serving reads what training read.

Written into an adapter's manifest when it is trained, compared by the compatibility check. A digest says that two
tokenizers differ; these say where. Holds no data of the user's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tsugiki.engine.base import render
from tsugiki.engine.batches import prompt_ids
from tsugiki.errors import BaseModelError
from tsugiki.work.adapter_facts import Golden
from tsugiki.work.spec import Template

# What tokenizers are known to disagree on: kana beside digits, full width, spaces, line ends, letters beyond the BMP.
GOLDEN_PROMPTS = (
    "The pump makes a grinding noise after 30 minutes.\nClass: ",
    "部品番号はAB-1204、数量は30個です。\n分類: ",
    "カードは4111を使う。",
    "ＡＢＣ　１２３（全角）",
    "温度 -12.5℃ / 3.0×10^-4 m",
    "  two  spaces,\ttab\n\n\nthree line ends\n",
    "def f(x):\n    return x**2  # 二乗\n",
    "naïve café — “quoted” 𠮷野家 🙂",
)


def golden_tokens(tokenizer: Any, template: Template, prompts: Sequence[str] = GOLDEN_PROMPTS) -> tuple[Golden, ...]:
    """The ids of each prompt as the model would read it; nothing where the tokenizer cannot render the template."""
    try:
        return tuple(
            Golden(one, tuple(prompt_ids(tokenizer, render(tokenizer, one, None, template)))) for one in prompts
        )
    except BaseModelError:
        return ()


def golden_as_json(golden: Sequence[Golden]) -> list[dict[str, Any]]:
    return [{"prompt": one.prompt, "ids": list(one.ids)} for one in golden]
