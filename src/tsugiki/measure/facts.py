"""Does an answer keep the numbers, units and negations of its reference? In Japanese and English.

Called by work/ beside the task metric: text overlap gives 0.88 to "3分" for "30分", and more to a dropped ない than
to a good paraphrase. This is an alarm for a reader, not a proof. It compares what is counted in each text as a whole;
it does not see which thing a number or a ない belongs to, opposites without a negation (開ける/閉める), conversions,
or units it has no name for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from tsugiki.measure.quantities import Quantity, quantities

Kind = Literal["number", "unit", "negation"]


@dataclass(frozen=True)
class Facts:
    quantities: tuple[Quantity, ...]  # sorted; a multiset
    negations: int  # how many things are denied or forbidden


@dataclass(frozen=True)
class Difference:
    """What the reference has and the answer lacks (`expected`), and the other way round (`found`); "" for nothing."""

    kind: Kind
    expected: str
    found: str


@dataclass(frozen=True)
class FactReport:
    numbers_ok: bool
    units_ok: bool
    negation_ok: bool
    differences: tuple[Difference, ...]

    @property
    def ok(self) -> bool:
        return self.numbers_ok and self.units_ok and self.negation_ok


def agree(prediction: str, reference: str) -> FactReport:
    ours, theirs = facts(prediction), facts(reference)
    numbers = _difference("number", map(_number, theirs.quantities), map(_number, ours.quantities))
    units = _difference("unit", _units(theirs), _units(ours))
    if not numbers and not units:  # the same numbers and the same units, but paired the other way
        units = _difference("unit", map(_shown, theirs.quantities), map(_shown, ours.quantities))
    negations = _difference("negation", [str(theirs.negations)], [str(ours.negations)])
    return FactReport(not numbers, not units, not negations, (*numbers, *units, *negations))


def facts(text: str) -> Facts:
    found, rest = quantities(text)
    return Facts(tuple(sorted(found)), _negations(rest))


def _difference(kind: Kind, expected: Iterable[str], found: Iterable[str]) -> tuple[Difference, ...]:
    wanted, given = Counter(expected), Counter(found)
    lacking, added = sorted((wanted - given).elements()), sorted((given - wanted).elements())
    return (Difference(kind, ", ".join(lacking), ", ".join(added)),) if lacking or added else ()


def _number(quantity: Quantity) -> str:
    return quantity.bound + quantity.number


def _units(found: Facts) -> list[str]:
    """A number without one is no wrong unit."""
    return [each.unit for each in found.quantities if each.unit]


def _shown(quantity: Quantity) -> str:
    return quantity.bound + quantity.number + quantity.unit


# Words that hold a ない, ず or no without denying anything, and duties written as double negations.
_JAPANESE_NEUTRAL = re.compile(
    r"(?:なければ|なくては|なきゃ|ないと|ねば)(?:なら|いけ)(?:ない|ません|ず)|なければなりません|ざるを得(?:ない|ません)|"
    r"かも(?:しれ|知れ)(?:ない|ません)|(?:だけ|ばかり)で(?:は)?(?:なく|ない)|のみならず|(?:に)?(?:間違い|違い)(?:ない|なく|ありません)|"
    r"すみません|申し訳(?:ない|ありません|ございません)|とんでもない|もったいない|仕方(?:が)?ない|"
    r"(?:少|危|切|幼|汚|儚|拙|際ど|すく|あぶ)な(?:い|く|かっ|けれ)|つまらな|くだらな|さりげな|何気な|"
    r"ない(?:し(?:は)?|よう(?:物|を含))|(?:必|絶え|思わ|とりあえ|取りあえ|相変わら|少なから|やむを得|まず|いず)ず?(?:、|に)?(?=まず|いず)|"
    r"必ず|絶えず|思わず|とりあえず|取りあえず|相変わらず|少なからず|やむを得ず|いずれ|おもむろに|"
    r"ませんか|ないか(?=[?。、と]|$)|限りなく|程なく|まもなく|間もなく|何となく|なんとなく|くまなく"
)
_JAPANESE_NEGATION = re.compile(
    r"ない|なかっ|なければ|なくて|なく(?=[、。てし]|$)|なくな|ことなく|ません|(?<=[をがはもて])なし|無し|無しで|なし(?=[でに。、]|$)|"
    r"(?<=[あかがさざたなばまらわえけげせてでねべめれ])ず(?=[に、。]|$)|(?<=[\u4e00-\u9fff])ず(?=に|、)|"
    r"不可(?![欠避解])|不要|不能|不可能|不許可|禁止|厳禁|禁ず|禁物|無効|無用|不合格|不良|不適|未(?=[使接完実確処対設開着入登承検取])|"
    r"避け(?:る|て|た|ま|よ)|控え(?:る|て|た|ま)|(?:^|[。、\s])いいえ"
)
_ENGLISH_NEUTRAL = re.compile(
    r"\bnot only\b|\bno\.?\s*#|\bno doubt\b|\bnot to mention\b|\bif not\b.*?\bthen\b", re.IGNORECASE
)
_ENGLISH_NEGATION = re.compile(
    r"\b(?:not|cannot|never|no|none|nothing|nobody|nowhere|neither|without|unless|except|prohibit(?:ed|s)?|"
    r"forbid(?:den|s)?|banned|disallow(?:ed|s)?|unable|impossible|unnecessary|invalid|disabled?|disables|"
    r"avoid(?:s|ing|ed)?|refrain(?:s|ing)?|unsafe|unavailable|unused)\b|n't\b",
    re.IGNORECASE,
)


def _negations(text: str) -> int:
    japanese = len(_JAPANESE_NEGATION.findall(_JAPANESE_NEUTRAL.sub("", text)))
    return japanese + len(_ENGLISH_NEGATION.findall(_ENGLISH_NEUTRAL.sub("", text)))
