"""A scorecard as an editable PPTX of six or seven slides: decision, quality, cost, data, money, risks, next steps.

Called by work/slides.py. A pure function of the card: the same card gives the same bytes. Everything on the slides is
a native object (titles, tables, charts with their numbers), in the card's language; the notes of each slide hold the
rule that decided, the trials its numbers come from, and whatever was too long for the slide. A part of the card that
has a slide of its own gets a function in PAGES; one that returns no page leaves the slide out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime

from tsugiki.report.scorecard import Card, subject
from tsugiki.report.slide_decision import decision_page, next_page, risks_page
from tsugiki.report.slide_deck import Deck, deck_bytes, new_deck, write_notes
from tsugiki.report.slide_money import money_basis, money_page
from tsugiki.report.slide_numbers import cost_page, data_page, quality_page
from tsugiki.report.slide_shapes import Page
from tsugiki.report.slide_text import shortened_to
from tsugiki.report.words import say, translated

# Each page, and the parts of the card's provenance that its numbers come from.
PAGES: Mapping[Callable[[Deck, Card], Page | None], tuple[str, ...]] = {
    decision_page: ("methods", "reference"),
    quality_page: ("methods", "reference"),
    cost_page: ("methods",),
    data_page: ("learning_curve", "methods"),
    money_page: ("methods", "reference"),
    risks_page: ("methods",),
    next_page: ("methods", "reference", "learning_curve"),
}
UNDATED = datetime(2000, 1, 1)
SHORT = 19  # characters of a digest that are enough to tell it


def render_slides(card: Card) -> bytes:
    """The whole deck in the card's language."""
    language, study = card["language"], card.get("study", {})
    deck = new_deck(language, _footer(card))
    for compose, sources in PAGES.items():
        page = compose(deck, card)
        if page is not None:
            basis = money_basis(card) if compose is money_page else []
            write_notes(page, [*basis, *_notes(card, sources)])
    return deck_bytes(
        deck,
        title=study.get("purpose") or say("page.untitled", language),
        subject=say("page.title", language),
        keywords=study.get("digest") or card["data"]["digest"],
        made=_made(study.get("created")),
    )


def _footer(card: Card) -> str:
    study = card.get("study", {})
    digest = study.get("digest") or card["data"]["digest"]
    base = shortened_to(study.get("base", {}).get("name") or "", 1, 10, 4.0)
    parts = (base, (study.get("created") or "")[:10], digest[:SHORT])
    return " · ".join(part for part in ("tsugiki", *parts) if part)


def _notes(card: Card, sources: tuple[str, ...]) -> Iterator[str]:
    """The rule and its reasons, then where the numbers of this slide come from."""
    language, verdict, machine = card["language"], card["verdict"], card["machine"]
    yield f"{say('page.rule', language)}: {verdict['rule']}"
    for reason in verdict["reasons"]:
        yield f"{say('page.reasons', language)}: {reason}"
    ways = dict.fromkeys(one["quality"]["method"] for one in (*card["methods"], *card["reference"]))
    known = [translated("interval", way, language) for way in ways if way]
    yield say("slide.source", language, methods=", ".join(known) or say("missing.no_reason", language))
    if trials := list(dict.fromkeys(_trials(card, sources))):
        yield say("slide.trials", language, trials=", ".join(trials))
    if digest := card.get("study", {}).get("digest"):
        yield say("slide.study_digest", language, digest=digest)
    yield say("slide.data_digest", language, digest=card["data"]["digest"])
    yield say("slide.machine", language, cpu=machine["cpu"], fingerprint=machine["fingerprint"])


def _trials(card: Card, sources: tuple[str, ...]) -> Iterator[str]:
    """The trials of these parts of the card, the method that the verdict is about first."""
    provenance = card.get("provenance", {})
    groups = sorted(provenance, key=lambda group: group != f"methods.{subject(card)['name']}")
    for group in groups:
        if group.partition(".")[0] in sources:
            yield from provenance[group]


def _made(created: str | None) -> datetime:
    """When the study was made, or a fixed time: never when the slides were."""
    if not created:
        return UNDATED
    try:
        found = datetime.fromisoformat(created)
    except ValueError:
        return UNDATED
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC).replace(tzinfo=None)
