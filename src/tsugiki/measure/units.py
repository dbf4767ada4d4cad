"""The words for units, counters, bounds and English numbers that quantities.py reads: data, no logic.

A line of SPELLINGS is one unit: its canonical name, then every other spelling of exactly the same unit. Spellings that
mean something else (mW and MW, 時 and 時間) stand on different lines. COUNTERS have one spelling each.
"""

from __future__ import annotations

from collections.abc import Mapping

SPELLINGS = """
mm ミリメートル ミリ millimeter millimeters millimetre millimetres
cm センチメートル センチ centimeter centimeters centimetre centimetres
m メートル meter meters metre metres
km キロメートル kilometer kilometers kilometre kilometres
μm um ミクロン マイクロメートル micrometer micrometers micron microns
nm ナノメートル nanometer nanometers
inch inches インチ
ft feet foot フィート
g グラム gram grams
mg ミリグラム milligram milligrams
kg キログラム kilogram kilograms
t トン ton tons tonne tonnes
L l リットル liter liters litre litres
dL dl デシリットル
mL ml ミリリットル cc milliliter milliliters millilitre millilitres
s 秒 秒間 sec secs second seconds
ms ミリ秒 millisecond milliseconds
μs us マイクロ秒
min 分 分間 mins minute minutes
h 時間 hr hrs hour hours
時 o'clock
日 日間 day days
週 週間 week weeks
か月 ヶ月 ケ月 カ月 箇月 か月間 ヶ月間 ケ月間 カ月間 month months
年 年間 year years
°C 度C degC celsius
°F degF fahrenheit
度 ° deg degree degrees
K ケルビン kelvin
% パーセント percent
rpm r/min min-1
dB デシベル
V ボルト volt volts
mV ミリボルト
kV キロボルト
A アンペア ampere amperes amp amps
mA ミリアンペア
μA uA
W ワット watt watts
kW キロワット
MW メガワット
kWh キロワット時
Hz ヘルツ hertz
kHz キロヘルツ
MHz メガヘルツ
GHz ギガヘルツ
Ω ohm ohms オーム
kΩ キロオーム
MΩ メガオーム
μF uF
Pa パスカル pascal pascals
hPa ヘクトパスカル
kPa キロパスカル
MPa メガパスカル
N ニュートン newton newtons
N·m Nm N・m N*m ニュートンメートル
J ジュール joule joules
cal カロリー
kcal キロカロリー
lx ルクス lux
bit bits ビット
B byte bytes バイト
KB kB
円 yen JPY
ドル dollar dollars USD
ユーロ euro euros EUR
個 コ ヶ 箇
回 times
人 名 person persons people
箇所 か所 ヶ所 カ所 ケ所
点 point points
箱 box boxes
滴 drop drops
錠 tablet tablets
行 line lines
歳 才
"""
COUNTERS = """
‰ ppm ppb mW F nF pF H mH bar psi kN kJ lm MB GB TB 月 本 枚 台 件 号 番 階 袋 つ 倍 割 種類 列 段 組 冊 缶 号機
号車 か国 部 度目 回転 匹 頭 軒 丁目
"""
CANONICAL: Mapping[str, str] = {word: line.split()[0] for line in SPELLINGS.splitlines() for word in line.split()} | {
    word: word for word in COUNTERS.split()
}
MONEY: Mapping[str, str] = {"¥": "円", "$": "ドル", "€": "ユーロ"}

_ONES = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen
"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
ENGLISH_NUMBERS: Mapping[str, int] = {word: value for value, word in enumerate(_ONES.split())} | {
    word: 10 * value for value, word in enumerate(_TENS.split(), start=2)
}

_AFTER = """
≥ 以上|を下回らない|or more|or higher|or longer
≤ 以下|以内|まで|を超えない|を超えません|を超えてはならない|を超えてはいけない|を超えないこと
≤ or less|or fewer|or lower|or below
> を超え|を越え|超|より大き|より多|より高|より長|を上回
< 未満|より小さ|より少な|より低|より短|を下回
"""
_BEFORE = """
≤ no more than|not more than|no longer than|no later than|no higher than|at most|up to|maximum of|a maximum of
≤ not exceed|never exceed|n't exceed|not exceeding|within|最大|最高
≥ no less than|not less than|no fewer than|at least|minimum of|a minimum of|最小|最低|少なくとも
> more than|greater than|longer than|higher than|over|above|exceeding
< less than|fewer than|shorter than|lower than|under|below
"""


def _bounds(lines: str) -> Mapping[str, str]:
    return {word: line[0] for line in lines.strip().splitlines() for word in line[2:].split("|")}


BOUNDS_AFTER = _bounds(_AFTER)
BOUNDS_BEFORE = _bounds(_BEFORE)
