"""General text in English and Japanese, on which a base's loss is taken before and after training.

Called by work/trial.py. The passages were written for this purpose and stand in general_text/; they are everyday facts
in plain prose, so a rise of the loss on them means that ordinary language was lost, not that a fact was.
"""

from __future__ import annotations

from importlib import resources

from tsugiki.config import LanguageName


def general_passages(language: LanguageName) -> list[str]:
    text = resources.files("tsugiki.measure").joinpath("general_text", f"{language}.txt").read_text(encoding="utf-8")
    return [" ".join(passage.split()) if language == "en" else passage.strip() for passage in text.split("\n\n")]
