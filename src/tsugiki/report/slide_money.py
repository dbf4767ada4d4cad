"""The slide of money: the account of a month, what comes back when, and which inputs it hangs on.

Called by `slides` where the card holds money. Lines, sentences and footnotes are those of the page; the date and the
source of the prices stand on the slide.
"""

from __future__ import annotations

from tsugiki.report.figures import shown
from tsugiki.report.money import money_groups, money_interval, money_lead, money_notes, price_line
from tsugiki.report.scorecard import Card
from tsugiki.report.slide_charts import spread_chart
from tsugiki.report.slide_deck import BODY, Deck, add_page
from tsugiki.report.slide_rows import write_rows
from tsugiki.report.slide_shapes import Box, Page, write, write_list
from tsugiki.report.tables import Notes, Row
from tsugiki.report.tornado import tornado_rows, tornado_spoken
from tsugiki.report.words import say

MOST_BARS = 6
SIGNS = {"JPY": "¥", "USD": "$", "EUR": "€"}  # those that may stand in a number format


def money_page(deck: Deck, card: Card) -> Page | None:
    """None where the card was made without prices."""
    if not card.get("money"):
        return None
    language, money, notes = card["language"], card["money"], Notes(card["language"])
    page = add_page(deck, eyebrow=say("page.money", language), title=_title(card))
    left = Box(BODY.left, BODY.top, 6.7, BODY.height)
    (_, monthly), (_, once), (_, results) = money_groups(card, notes)
    rows = [*monthly, *once[-1:], *results]
    head = [say("page.money", language), say("money.amount", language)]
    head.append(say("column.interval", language, confidence=money["confidence"]))
    rows = [Row(row.name, row.cells[:2], row.emphasis) for row in rows]  # how each comes about is in the notes
    sizes = (12, 11, 10, 9)
    write_rows(page, left, head, rows, notes, widths=(3.0, 1.5, 2.2), sizes=sizes, caption=price_line(card))
    right = Box(left.right + 0.35, BODY.top, BODY.right - left.right - 0.35, BODY.height)
    remarks = money_notes(card)
    first = remarks[: len(remarks) - len(money["notes"])]  # that no use is advised
    texts = [*first, *money_lead(card), *money["notes"]]
    top = right.top
    if money["tornado"]:
        _inputs(page, Box(right.left, right.top, right.width, 2.85), card)
        top += 2.95
    below = Box(right.left, top, right.width, right.bottom - top)
    write_list(page, below, texts, sizes=(14, 13, 12, 11), name="Findings", gap=0.2)
    return page


def _title(card: Card) -> str:
    language, money = card["language"], card["money"]
    net = money["month"]["net"]
    if net["estimate"] is None:
        return say("slide.money_unknown", language)
    amount = {"amount": net["estimate"], "currency": money["currency"]}
    return say("slide.money_title", language, net=amount, interval=money_interval(money, net, language))


def _inputs(page: Page, box: Box, card: Card) -> None:
    """By how much the net value changes when one input goes to the ends of its range."""
    language, money = card["language"], card["money"]
    base = money["horizon"]["net"]["estimate"]
    caption = say("slide.money_inputs", language, months=money["horizon"]["months"])
    write(page, Box(box.left, box.top, box.width, 0.5), caption, sizes=(12, 11, 10), name="Caption")
    rows = [
        (f"{row['name']}\n{row['range']}", *(bar["to"] - base for bar in row["bars"]))
        for row in tornado_rows(card)[:MOST_BARS]
    ]
    spread_chart(
        page,
        Box(box.left, box.top + 0.5, box.width, box.height - 0.5),
        rows,
        ends=(say("slide.lower_end", language), say("slide.upper_end", language)),
        number_format=_signed(money["currency"]),
        name=caption,
        spoken=tornado_spoken(card),
    )


def _signed(currency: str) -> str:
    """A number format of office programs: sign, currency sign, whole units."""
    sign = SIGNS.get(currency, "")
    return f'"+{sign}"#,##0;"−{sign}"#,##0;"±{sign}"0'


def money_basis(card: Card) -> list[str]:
    """The account in words, for the notes: each line with how it comes about."""
    if not card.get("money"):
        return []
    language = card["language"]
    lines = [row for _, rows in money_groups(card, Notes(language)) for row in rows]
    known = [line for line in lines if line.cells[0].text != shown(None, "text", language)]
    return [f"{line.name}: {' '.join(cell.text for cell in line.cells if cell.text)}" for line in known]
