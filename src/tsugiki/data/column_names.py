"""Column names that tell what a column is for, in English and Japanese, as compared by shapes.py (NFKC, lower case)."""

from __future__ import annotations

# Names that belong together; one complete pair in a table is taken, two are a question to the user.
PAIRS = (
    ("prompt", "completion"),
    ("prompt", "response"),
    ("input", "output"),
    ("question", "answer"),
    ("q", "a"),
    ("source", "target"),
    ("text", "label"),
    ("質問", "回答"),
    ("問い合わせ", "回答"),
    ("入力", "出力"),
    ("本文", "分類"),
    ("原文", "訳文"),
    ("プロンプト", "応答"),
)
PROMPT_NAMES = frozenset(  # a word list reads better than eighty quoted lines
    """
    prompt input question query text source src sentence document body description instruction context utterance x
    プロンプト 入力 入力文 質問 質問文 設問 問い 問い合わせ 問合せ 問合わせ お問い合わせ 問い合わせ内容
    問合せ内容 お問い合わせ内容 本文 文章 文 テキスト 原文 内容 説明 品名 現象 事象 症状 不具合内容 報告 件名
    """.split()  # noqa: SIM905
)
COMPLETION_NAMES = frozenset(
    """
    completion output answer response reply target tgt label labels class category result reference summary
    translation intent code y
    回答 回答内容 答え 答 解答 応答 返答 返信 出力 出力文 正解 正解ラベル ラベル 分類 分類名 区分 カテゴリ カテゴリー
    種別 訳文 翻訳 要約 結果 対応 対応内容 対策 処置 原因 コード
    """.split()  # noqa: SIM905
)
CHAT_NAMES = ("messages", "メッセージ")
SHAREGPT_NAMES = ("conversations", "conversation")
ALPACA_PROMPTS = ("instruction", "指示")
ALPACA_INPUTS = ("input", "context", "入力")
ALPACA_OUTPUTS = ("output", "response", "出力", "応答")
# Where a row comes from: slices of the test rows, never a part of a prompt.
SOURCE_NAMES = frozenset(
    "source origin dataset site plant department 出典 出所 情報源 データ元 取得元 拠点 工場 部署 部門".split()  # noqa: SIM905
)
