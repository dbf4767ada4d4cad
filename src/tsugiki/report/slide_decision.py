"""The slides of words: the decision, what could go wrong, what to do next.

Called by `slides`. The sentences are those of the page (headline, reasons, risks, next steps); what is added here is
where a study stands between proof and production, read off the verdict, and who decides on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tsugiki.report.appendix import cuts
from tsugiki.report.figures import shown
from tsugiki.report.findings import next_steps, risks
from tsugiki.report.html import about, headline, tiles
from tsugiki.report.scorecard import Card, criteria, margin_points, subject
from tsugiki.report.slide_deck import BODY, Deck, add_page, set_title
from tsugiki.report.slide_shapes import (
    HAIR,
    INK,
    LEFT,
    PAPER,
    QUIET,
    RIGHT,
    SUBJECT,
    WASH,
    Box,
    Page,
    block,
    chevron,
    write,
    write_list,
)
from tsugiki.report.slide_table import PAD, SIDE, TableCell, write_table
from tsugiki.report.slide_text import fitted, line_height, lines_of, shortened_to
from tsugiki.report.words import reason_sentence, say

ALARM = "A32B25"
COLOURS: Mapping[str, tuple[str, str]] = {  # of a verdict: its word, the field behind it
    "adopt": ("17694A", "EEF6F2"),
    "conditional": ("94590A", "FBF5EA"),
    "stop": (ALARM, "FBEFEE"),
    "undecidable": ("45525C", "F1F4F6"),
}
LONGEST_FACT = 3.6  # inches at 12 points
STAGES = ("study", "pilot", "production")
STATES: Mapping[str, tuple[str, str, str]] = {  # of the stages, after a verdict
    "adopt": ("done", "next", "later"),
    "conditional": ("done", "checked", "later"),
    "stop": ("done", "stopped", "stopped"),
    "undecidable": ("again", "waiting", "waiting"),
}
ACTIVE = ("next", "checked", "again")  # where the next effort goes


def decision_page(deck: Deck, card: Card) -> Page:
    """The verdict in a word and a sentence, three numbers, why, and whose study it is."""
    language, value = card["language"], card["verdict"]["value"]
    colour, tint = COLOURS[value]
    field = Box(LEFT, 1.95, RIGHT - LEFT, 1.3)
    word = Box(field.left + 0.4, field.top + 0.1, 4.5, field.height - 0.2)
    verdict = say(f"verdict.{value}", language)
    page = add_page(deck, eyebrow=say("page.title", language), title=verdict, title_box=word)
    label = say("page.verdict", language)
    size = fitted(verdict, word.width, word.height - 0.3, (40, 36, 32, 28, 24), bold=True).size
    set_title(page, [(label, 13, QUIET), (verdict, size, colour)])
    purpose = card.get("study", {}).get("purpose") or say("page.untitled", language)
    write(page, Box(LEFT, 0.68, RIGHT - LEFT, 0.74), purpose, sizes=(20, 18, 16, 15), bold=True, name="Purpose")
    _about(page, card, Box(LEFT, 1.45, RIGHT - LEFT, 0.44))
    _behind(page, Box(field.left, field.top, 0.12, field.height), colour)
    _behind(page, field, tint)
    sentence = Box(word.right + 0.2, field.top + 0.1, field.right - word.right - 0.45, field.height - 0.2)
    write(page, sentence, headline(card), sizes=(20, 18, 16, 14), bold=True, name="Headline", anchor="middle")
    _tiles(page, card, Box(LEFT, 3.42, RIGHT - LEFT, 1.2))
    write(page, Box(LEFT, 4.75, 6.0, 0.28), say("page.reasons", language), sizes=(13,), bold=True, name="Why")
    reasons = Box(LEFT, 5.05, RIGHT - LEFT, 1.85)
    write_list(
        page, reasons, card["verdict"]["reasons"], sizes=(14, 13, 12, 11), numbered=True, gap=0.2, name="Reasons"
    )
    return page


def risks_page(deck: Deck, card: Card) -> Page:
    """What the numbers warn of, the grave ones first; then what was cut, failed or has to be read with care."""
    language, found = card["language"], risks(card)
    counts = {level: sum(risk.level == level for risk in found) for level in ("high", "watch")}
    title = say("slide.risks_title", language, **counts) if found else say("slide.risks_none", language)
    page = add_page(deck, eyebrow=say("page.risks", language), title=title)
    lines: list[tuple[str, str]] = [(risk.level, risk.text) for risk in found]
    lines = lines or [("note", say("page.no_risk", language))]
    lines += [("note", text) for text in _remarks(card)]
    rows = [_finding(card, level, text) for level, text in lines]
    size, room = 11, BODY.height - 0.3
    widths = (0.95, BODY.width - 0.95)
    shown_rows = _that_fit(rows, widths[1], room, size)
    end = write_table(
        page,
        Box(BODY.left, BODY.top, BODY.width, room),
        [say("slide.level", language), say("slide.finding", language)],
        shown_rows,
        widths=widths,
        sizes=(15, 14, 13, 12, size),
        name=say("page.risks", language),
        described=title,
        align=("left", "left"),
    )
    if len(shown_rows) < len(rows):
        page.cut.extend(text for _, text in lines[len(shown_rows) :])
        rest = say("slide.more", language, count=len(rows) - len(shown_rows))
        write(page, Box(BODY.left, end + 0.06, BODY.width, 0.24), rest, sizes=(11,), colour=QUIET, name="More")
    return page


def next_page(deck: Deck, card: Card) -> Page:
    """Where the study stands between proof and production, what to do, with which data, and who decides."""
    language, value = card["language"], card["verdict"]["value"]
    page = add_page(deck, eyebrow=say("page.next", language), title=say(f"slide.next_{value}", language))
    width = (RIGHT - LEFT - 0.3) / len(STAGES)
    for number, (stage, state) in enumerate(zip(STAGES, STATES[value], strict=True)):
        active, done = state in ACTIVE, state == "done"
        texts = ((say(f"slide.stage_{stage}", language), 15, True), (say(f"slide.state_{state}", language), 12, False))
        box = Box(LEFT + number * (width + 0.15), BODY.top, width, 0.85)
        fill, ink = (SUBJECT, PAPER) if active else ("D5E3EF", SUBJECT) if done else (WASH, QUIET)
        chevron(page, box, texts, fill=fill, colour=ink, name=texts[0][0])
    steps = Box(LEFT, BODY.top + 1.15, 7.3, BODY.height - 1.15)
    write_list(page, steps, next_steps(card), sizes=(18, 17, 16, 15, 14, 13, 12), numbered=True, gap=0.6, name="Steps")
    side = Box(steps.right + 0.4, steps.top, RIGHT - steps.right - 0.4, steps.height)
    _behind(page, side, WASH)
    panels = list(_panels(page, card))
    height = (side.height - 0.3) / len(panels)
    for number, (label, text) in enumerate(panels):
        top = side.top + 0.2 + number * height
        inner = Box(side.left + 0.25, top, side.width - 0.5, 0.26)
        write(page, inner, label, sizes=(12,), bold=True, colour=QUIET, name="Label")
        below = Box(inner.left, inner.bottom + 0.02, inner.width, height - 0.4)
        write(page, below, text, sizes=(15, 14, 13, 12, 11), name=label)
    return page


def _about(page: Page, card: Card, box: Box) -> None:
    """Whose study, when, on what; long names give way to one another."""
    facts, sizes = list(about(card)), (12, 11, 10)
    line = "    ".join(f"{name}: {found}" for name, found in facts)
    if fitted(line, box.width, box.height, sizes).cut:
        line = "    ".join(f"{name}: {_short(page, found)}" for name, found in facts)
    write(page, box, line, sizes=sizes, colour=QUIET, name="About")


def _tiles(page: Page, card: Card, box: Box) -> None:
    """The first three numbers of the page, side by side."""
    found = list(tiles(card))[:3]
    width = box.width / len(found)
    amounts = [fitted(amount, width - 0.4, 0.5, (26, 24, 22, 20, 18, 16), bold=True) for _, amount, _ in found]
    size = min(amount.size for amount in amounts)
    for number, (label, amount, compared) in enumerate(found):
        left = box.left + number * width + (0.25 if number else 0.0)
        room = width - (0.4 if number else 0.15)
        if number:
            _behind(page, Box(box.left + number * width, box.top + 0.05, 0.012, box.height - 0.1), HAIR)
        write(page, Box(left, box.top, room, 0.26), label, sizes=(12, 11, 10), colour=QUIET, name="Label")
        write(page, Box(left, box.top + 0.26, room, 0.5), amount, sizes=(size,), bold=True, name=label)
        write(page, Box(left, box.top + 0.77, room, 0.43), compared, sizes=(12, 11, 10), colour=QUIET, name="Compared")


def _finding(card: Card, level: str, text: str) -> list[TableCell]:
    colour = ALARM if level == "high" else INK if level == "watch" else QUIET
    word = TableCell(say(f"level.{level}", card["language"]), bold=level != "note", colour=colour)
    return [word, TableCell(text, colour=QUIET if level == "note" else INK)]


def _that_fit(rows: list[list[TableCell]], width: float, room: float, size: float) -> list[list[TableCell]]:
    """As many rows as there is room for in the smallest size, each cut to three lines at most; one at least."""
    kept: list[list[TableCell]] = []
    used = line_height(size) + 2 * PAD
    for row in rows:
        used += min(3, lines_of(row[1].text, size, width - 2 * SIDE)) * line_height(size) + 2 * PAD
        if kept and used > room:
            break
        kept.append(row)
    return kept


def _remarks(card: Card) -> Iterator[str]:
    """Retention where no risk speaks of it; what was cut for time, what failed, what to read with care."""
    language, kept = card["language"], subject(card)["retention"] or {}
    before, after = kept.get("loss_before"), kept.get("loss_after")
    label = say("measure.retention", language)
    if before is None or after is None:
        why = (
            kept.get("reason")
            or subject(card).get("reasons", {}).get("retention")
            or say("missing.no_reason", language)
        )
        yield f"{label}: {shown(None, 'loss', language)} ({why})"
    elif after <= before:
        losses = [shown(loss, "loss", language) for loss in (before, after)]
        yield f"{label}: {' → '.join(losses)} ({shown(after - before, 'signed_loss', language)})"
    yield from card.get("warnings", ())
    yield from (f"{say('setting.cut', language)}: {text}" for text in cuts(card))
    yield from (
        f"{say('page.failures', language)}: {one['trial']}: {one['reason']}" for one in card.get("failures", ())
    )


def _panels(page: Page, card: Card) -> Iterator[tuple[str, str]]:
    language, study, set_before = card["language"], card.get("study", {}), criteria(card)
    yield say("slide.needed", language), data_needed(card)
    people = {who: _short(page, study.get(who) or "") for who in ("owner", "reviewer")}
    named = all(people.values())
    yield (
        say("slide.decides", language),
        say("slide.decides_value", language, **people) if named else say("slide.decides_unknown", language),
    )
    if {"success", "withdraw"} <= set(set_before):
        values = {key: set_before[key] for key in ("success", "withdraw")}
        margin = margin_points(card, subject(card))
        yield say("slide.criteria", language), say("slide.criteria_value", language, margin=margin, **values)


def data_needed(card: Card) -> str:
    """The number that would decide; where there is none, why."""
    language, verdict, used = card["language"], card["verdict"], card["data"]["used"]
    if verdict["needed_examples"] is not None:
        return say("slide.needed_value", language, needed=verdict["needed_examples"], used=used)
    if verdict["value"] != "undecidable":
        return say("slide.needed_none", language, used=used)
    codes = {reason["code"] for reason in verdict.get("codes", ())}
    known = next((code for code in ("no_number_decides", "too_close_to_decide") if code in codes), None)
    return reason_sentence(known, {}, language) if known else say("slide.needed_open", language)


def _short(page: Page, text: str) -> str:
    """A name or another short fact at a length that leaves room for the others."""
    short = shortened_to(text, 1, 12, LONGEST_FACT)
    if short != text:
        page.cut.append(text)
    return short


def _behind(page: Page, box: Box, fill: str) -> None:
    """A block behind everything that is there already."""
    block(page, box, fill=fill, name="Block")
    tree = page.slide.shapes._spTree
    tree.insert(2, tree[-1])
