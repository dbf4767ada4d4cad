"""Command lines, intakes and settings that cannot be used, as cases for the table of bad inputs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from tests.cli.bad_data import GOOD
from tests.cli.bad_inputs import Case, Kit
from tests.report.cards import full_card

INTAKE = "purpose: p\nowner: a\nreviewer: b\ncriteria:\n  success: 0.8\n  withdraw: 0.4\n"


def line(*arguments: str) -> Callable[[Kit], Sequence[str]]:
    return lambda kit: arguments


def poc(*options: str, intake: str | bytes | None = INTAKE) -> Callable[[Kit], Sequence[str]]:
    """A `poc` that is sound but for what the case says; a base that does not exist ends it if the fault is missed."""

    def prepare(kit: Kit) -> Sequence[str]:
        command = ["poc", kit.file("a.csv", GOOD), "--base", "no-such-base", "--out", str(kit.folder / "study")]
        if intake is not None:
            command += ["--intake", kit.file("intake.yaml", intake)]
        return [*command, *options]

    return prepare


def criteria(text: str) -> Callable[[Kit], Sequence[str]]:
    head, _, _ = INTAKE.partition("criteria:")
    return poc(intake=f"{head}criteria: {text}\n")


def without(name: str) -> Callable[[Kit], Sequence[str]]:
    return poc(intake="".join(text for text in INTAKE.splitlines(keepends=True) if not text.startswith(name)))


def no_intake_file(kit: Kit) -> Sequence[str]:
    return ["poc", kit.file("a.csv", GOOD), "--base", "b", "--out", "study", "--intake", str(kit.folder / "no.yaml")]


def starter_over_a_file(kit: Kit) -> Sequence[str]:
    return ["poc", "--write-intake", kit.file("intake.yaml", INTAKE)]


def no_study(kit: Kit) -> Sequence[str]:
    return ["scorecard", str(kit.folder)]


def broken_study(content: str) -> Callable[[Kit], Sequence[str]]:
    def prepare(kit: Kit) -> Sequence[str]:
        kit.file("study/study.yaml", content)
        return ["scorecard", str(kit.folder / "study")]

    return prepare


def train(*options: str, data: str = GOOD) -> Callable[[Kit], Sequence[str]]:
    def prepare(kit: Kit) -> Sequence[str]:
        files = [kit.file("a.csv", data), "--base", str(kit.base), "--out", str(kit.folder / "adapter")]
        return ["train", *files, "--precision", "float32", *options]

    return prepare


def five_rows(kit: Kit) -> Sequence[str]:
    files = [kit.file("a.csv", FEW), "--base", str(kit.base), "--intake", kit.file("intake.yaml", INTAKE)]
    return ["poc", *files, "--out", str(kit.folder / "study"), "--precision", "float32"]


def into_a_file(command: str) -> Callable[[Kit], Sequence[str]]:
    """`--out` (or what it lies in) is a file."""

    def prepare(kit: Kit) -> Sequence[str]:
        taken = kit.file("taken", "x")
        if command == "demo":
            return ["demo", "--out", taken]
        if command == "train":
            return ["train", kit.file("a.csv", GOOD), "--base", str(kit.base), "--out", f"{taken}/adapter"]
        files = [kit.file("a.csv", GOOD), "--base", str(kit.base), "--intake", kit.file("intake.yaml", INTAKE)]
        return ["poc", *files, "--out", taken]

    return prepare


def few_groups(kit: Kit) -> Sequence[str]:
    rows = "".join(f"question {group}{number},answer,{group}\n" for group in "abcdefgh" for number in range(5))
    files = [kit.file("a.csv", f"prompt,completion,group\n{rows}"), "--base", str(kit.base)]
    return ["poc", *files, "--intake", kit.file("intake.yaml", INTAKE), "--out", str(kit.folder / "study")]


def train_over_a_folder(kit: Kit) -> Sequence[str]:
    kit.file("adapter/notes.txt", "x")
    return train()(kit)


def evaluate_no_adapter(kit: Kit) -> Sequence[str]:
    return ["evaluate", str(kit.folder), kit.file("a.csv", GOOD)]


def odd_manifest(**values: object) -> Callable[[Kit], Sequence[str]]:
    """An adapter whose manifest was written by somebody else."""

    def prepare(kit: Kit) -> Sequence[str]:
        manifest = {"format": 1, "plan": {}, "base": {"name": str(kit.base)}, **values}
        kit.file("odd/tsugiki.json", json.dumps(manifest))
        return ["evaluate", str(kit.folder / "odd"), kit.file("a.csv", GOOD)]

    return prepare


def slides(card: object, *, out: str = "deck.pptx", options: Sequence[str] = ()) -> Callable[[Kit], Sequence[str]]:
    """The slides of a file that holds this; text is written as it is."""

    def prepare(kit: Kit) -> Sequence[str]:
        content = card if isinstance(card, str | bytes) else json.dumps(card)
        return ["slides", kit.file("study/scorecard.json", content), "--out", str(kit.folder / out), *options]

    return prepare


def with_part(name: str, value: object) -> dict[str, object]:
    return full_card("en") | {name: value}


def without_a_number() -> dict[str, object]:
    card = full_card("en")
    card["methods"][0]["train_seconds"] = float("nan")
    return card


def slides_of_nothing(kit: Kit) -> Sequence[str]:
    return ["slides", str(kit.folder / "no-study"), "--out", str(kit.folder / "deck.pptx")]


def slides_of_a_folder(name: str) -> Callable[[Kit], Sequence[str]]:
    def prepare(kit: Kit) -> Sequence[str]:
        kit.file(f"study/{name}", "purpose: p\n")
        return ["slides", str(kit.folder / "study"), "--out", str(kit.folder / "deck.pptx")]

    return prepare


def slides_over_a_file(kit: Kit) -> Sequence[str]:
    kit.file("deck.pptx", "edited by hand")
    return slides(full_card("en"))(kit)


def slides_over_a_folder(kit: Kit) -> Sequence[str]:
    kit.file("deck.pptx/x", "x")
    return slides(full_card("en"))(kit)


def slides_below_a_file(kit: Kit) -> Sequence[str]:
    kit.file("taken", "x")
    return slides(full_card("en"), out="taken/deck.pptx")(kit)


def study_over_slides(kit: Kit) -> Sequence[str]:
    return poc("--slides", kit.file("deck.pptx", "edited by hand"))(kit)


EMPTY = "prompt,completion\n" + "".join(f"question {number},\n" for number in range(30))
FEW = "prompt,completion\n" + "".join(f"question {number},answer\n" for number in range(5))

CASES = (
    Case("command line", "an unknown command", line("pocc"), 2, ("pocc",)),
    Case("command line", "an unknown option", line("check", "a.csv", "--colour"), 2, ("--colour",)),
    Case("command line", "check without a file", line("check"), 2, ("argument",)),
    Case("command line", "poc without anything", line("poc"), 2, ("DATA and --base and --out", "For example")),
    Case("command line", "a word for a number", poc("--seeds", "three"), 2, ("--seeds", "integer")),
    Case("command line", "an unknown language", line("demo", "--language", "de"), 2, ("--language", "de")),
    Case("command line", "fewer than no examples to show", line("check", "a.csv", "--show", "-1"), 2, ("--show",)),
    Case("command line", "examples to show and no base", line("check", "a.csv", "--show", "3"), 2, ("--base",)),
    Case("command line", "an unknown metric", line("evaluate", "a", "b", "--metric", "bleu"), 2, ("bleu",)),
    Case("settings", "no seeds", poc("--seeds", "0"), 2, ("seeds", "greater than or equal to 1")),
    Case("settings", "an unknown method", poc("--methods", "lora,qlora"), 2, ("methods", "qlora")),
    Case("settings", "a method twice", poc("--methods", "lora,lora"), 2, ("once each",)),
    Case("settings", "no method", poc("--methods", ""), 2, ("methods", "at least 1")),
    Case("settings", "full fine-tuning alone", poc("--methods", "full"), 2, ("full fine-tuning alone", "--methods")),
    Case("settings", "no budget", poc("--budget", "0"), 2, ("budget", "greater than 0")),
    Case("settings", "a budget of NaN", poc("--budget", "nan"), 2, ("budget", "finite")),
    Case("settings", "shares that leave nothing", poc("--test-share", "0.6", "--dev-share", "0.4"), 2, ("below 0.9",)),
    Case(
        "settings",
        "a rank of nothing",
        poc("--rank", "0"),
        2,
        ("rank must be a whole number from 1 to 1024, or auto; got 0",),
    ),
    Case("settings", "a rank that is no number", poc("--rank", "some"), 2, ("or auto; got 'some'",)),
    Case("settings", "lessons from a folder that is not there", poc("--learn-from", "nowhere"), 2, ("nowhere",)),
    Case("settings", "a dropout of everything", poc("--dropout", "1"), 2, ("dropout", "less than 1")),
    Case("settings", "an unknown schedule", poc("--schedule", "linear"), 2, ("linear", "cosine")),
    Case("settings", "dora on a bottleneck", train("--method", "adapter", "--dora"), 2, ("dora", "adapter")),
    Case(
        "settings",
        "weights in few bits trained in full",
        train("--method", "hybrid", "--quantize", "nf4"),
        2,
        ("hybrid", "nf4", "--quantize none"),
    ),
    Case("settings", "a learning rate of nothing", train("--learning-rate", "0"), 2, ("learning_rate",)),
    Case("intake", "a language and no file to write", poc("--language", "ja"), 2, ("--language", "--write-intake")),
    Case("intake", "a file that does not exist", no_intake_file, 2, ("no.yaml", "--intake")),
    Case("intake", "no file and no terminal", poc(intake=None), 2, ("--write-intake",)),
    Case("intake", "a starter over a file", starter_over_a_file, 2, ("exists already",)),
    Case("intake", "text that is not YAML", poc(intake="purpose: [a\n"), 2, ("line 2 is no YAML",)),
    Case(
        "poc",
        "--write-intake beside what it would not look at",
        line("poc", "rows.csv", "--write-intake", "intake.yaml"),
        2,
        ("writes a form and stops", "Leave out DATA"),
    ),
    Case(
        "intake",
        "a criterion given twice",
        poc(intake="criteria:\n  success: 0.8\n  success: 0.1\n"),
        2,
        ("line 3 is no YAML: success is there twice (first in line 2)",),
    ),
    Case("intake", "a list", poc(intake="- a\n- b\n"), 2, ("keys and values", "list")),
    Case("intake", "Shift_JIS", poc(intake="purpose: 部品".encode("cp932")), 2, ("UTF-8",)),
    Case("intake", "no owner", without("owner"), 2, ("owner is missing",)),
    Case("intake", "no criteria", poc(intake="purpose: p\nowner: a\nreviewer: b\n"), 2, ("criteria is missing",)),
    Case("intake", "an unknown key", poc(intake=INTAKE + "boss: c\n"), 2, ("boss is not a known key",)),
    Case("intake", "an empty purpose", poc(intake=INTAKE.replace("purpose: p", "purpose: ''")), 2, ("purpose",)),
    Case("intake", "percent instead of shares", criteria("{success: 80, withdraw: 40}"), 2, ("criteria.success", "80")),
    Case("intake", "a percent sign", criteria("{success: 80%, withdraw: 0.4}"), 2, ("'80%'", "Write 0.8.")),
    Case("intake", "a word for a number", criteria("{success: high, withdraw: 0.4}"), 2, ("success", "'high'")),
    Case("intake", "withdrawal above success", criteria("{success: 0.4, withdraw: 0.8}"), 2, ("must not be above",)),
    Case("intake", "success without withdrawal", criteria("{success: 0.4}"), 2, ("criteria.withdraw is missing",)),
    Case("intake", "an unknown metric", criteria("{metric: bleu, success: 0.8, withdraw: 0.4}"), 2, ("bleu",)),
    Case("study", "a folder without a study", no_study, 1, ("no study",)),
    Case("study", "a study.yaml that is no study", broken_study("hello"), 1, ("not a study file",)),
    Case("study", "a study.yaml that was changed", broken_study("digest: sha256:0\n"), 1, ("changed after",)),
    Case("study", "a file in the place of its folder", into_a_file("poc"), 2, ("it is a file", "--out")),
    Case("study", "a file in the place of the demo's folder", into_a_file("demo"), 2, ("it is a file", "--out")),
    Case("study", "a test part of two groups", few_groups, 1, ("2 groups that stay together", "at least 5")),
    Case("study", "five rows", five_rows, 1, ("5 usable", "at least")),
    Case("adapter", "training into a folder that exists", train_over_a_folder, 2, ("exists already", "--out")),
    Case("adapter", "a folder below a file", into_a_file("train"), 2, ("cannot be written to", "--out")),
    Case("adapter", "no row short enough", train("--max-length", "8"), 1, ("0 usable", "8 tokens", "--max-length")),
    Case("adapter", "no row with an answer", train(data=EMPTY), 1, ("empty",)),
    Case(
        "adapter", "a full layer that is not there", train("--method", "hybrid", "--full-layers", "7"), 1, ("block 7",)
    ),
    Case("adapter", "a block that is not there", train("--blocks", "last:3"), 1, ("last:3", "'last:2'")),
    Case("adapter", "a target that no layer has", train("--targets", "wq"), 1, ("wq", "q_proj")),
    Case("adapter", "a manifest with odd answers", odd_manifest(answer={"max_new_tokens": "all"}), 1, ("answers as",)),
    Case("adapter", "a manifest with endless answers", odd_manifest(answer={"max_new_tokens": 10**9}), 1, ("answers",)),
    Case("adapter", "a manifest of odd precision", odd_manifest(recipe={"precision": "int3"}), 1, ("int3", "float32")),
    Case("adapter", "evaluating a folder without an adapter", evaluate_no_adapter, 1, ("neither", "tsugiki.json")),
    Case("slides", "nothing there", slides_of_nothing, 1, ("does not exist", "folder of a finished study")),
    Case("slides", "a folder without a study", slides_of_a_folder("x"), 1, ("no scorecard.json", "finished study")),
    Case("slides", "a study without a scorecard", slides_of_a_folder("study.yaml"), 1, ("tsugiki scorecard",)),
    Case("slides", "text that is not JSON", slides("verdict: adopt"), 1, ("cannot be read as JSON", "scorecard.json")),
    Case("slides", "Shift_JIS", slides("結論".encode("cp932")), 1, ("cannot be read as JSON",)),
    Case("slides", "JSON that is no scorecard", slides([1, 2]), 1, ("not a scorecard", "must be object", "[1, 2]")),
    Case("slides", "a scorecard of another schema", slides(with_part("schema", 2)), 1, ("must be 1, got 2",)),
    Case("slides", "a number that is none", slides(without_a_number()), 1, ("train_seconds", "nan")),
    Case("slides", "warnings that are no list", slides(with_part("warnings", "hot")), 1, ("must be array", "hot")),
    Case("slides", "a file that exists", slides_over_a_file, 2, ("deck.pptx exists already", "--out")),
    Case("slides", "a folder in the place of the file", slides_over_a_folder, 2, ("is a folder", "--out")),
    Case("slides", "a folder below a file", slides_below_a_file, 2, ("cannot be written to", "--out")),
    Case("slides", "another kind of file", slides(full_card("en"), out="deck.pdf"), 2, ("deck.pdf", ".pptx")),
    Case("slides", "an unknown language", slides(full_card("en"), options=("--language", "de")), 2, ("de", "ja")),
    Case(
        "slides",
        "a language that the scorecard cannot be told in",
        slides(full_card("ja"), options=("--language", "en")),
        2,
        ("only be told in ja", "--language"),
    ),
    Case("slides", "a study over slides that exist", study_over_slides, 2, ("deck.pptx exists already", "--slides")),
    Case("slides", "a study with slides of another kind", poc("--slides", "a.ppt"), 2, ("a.ppt", "--slides")),
)
