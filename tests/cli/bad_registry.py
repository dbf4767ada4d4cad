"""Commands of the registry and exports that cannot be carried out, as cases for the table of bad inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from argon2 import PasswordHasher

from tests.cli.bad_inputs import Case, Kit
from tests.cli.bad_studies import line
from tests.records.adapters import write_own
from tests.records.registries import ADMIN, person
from tests.records.registries import registry as founded
from tsugiki.records import tokens
from tsugiki.records.open import Records
from tsugiki.work.register import Stated, add_version

ASKS = ("--purpose", "p", "--criteria", "c", "--scope", "s", "--reason", "r")


def token_of(records: Records, name: str) -> str:
    """A token of theirs, hashed quickly."""
    usual, tokens._HASHER = tokens._HASHER, PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    try:
        with records.database.writing() as connection:
            return tokens.create_token(connection, name, actor=ADMIN, reason="r")[1]
    finally:
        tokens._HASHER = usual


def filled(kit: Kit) -> Records:
    """A registry with everybody and one version, qa@1."""
    records = founded(kit.folder)
    write_own(kit.folder / "first")
    add_version(records, kit.folder / "first", Stated("qa"), actor=person("佐藤"), reason="r")
    return records


def asked(*arguments: str, by: str | None = "佐藤") -> Callable[[Kit], Sequence[str]]:
    """A command of the registry with somebody's token; paths in `arguments` start with `FOLDER/`."""

    def prepare(kit: Kit) -> Sequence[str]:
        records = filled(kit)
        words = [word.replace("FOLDER", str(kit.folder)) for word in arguments]
        token = [] if by is None else ["--token-file", kit.file("token", token_of(records, by))]
        return ["registry", *words, "--registry", str(records.folder), *token]

    return prepare


def damaged(change: Callable[[Path], object], *arguments: str) -> Callable[[Kit], Sequence[str]]:
    """A command on a registry to which something was done behind its back."""

    def prepare(kit: Kit) -> Sequence[str]:
        records = filled(kit)
        records.database.engine.dispose()
        change(records.folder)
        return ["registry", *arguments, "--registry", str(records.folder)]

    return prepare


def no_database(folder: Path) -> None:
    for path in folder.glob("registry.db*"):
        path.unlink()


def no_files(folder: Path) -> None:
    for path in (folder / "blobs").rglob("*"):
        if path.is_file():
            path.unlink()


def adapter(name: str, content: str | None = None) -> Callable[[Kit], Sequence[str]]:
    """`registry add` of something that is no adapter folder."""

    def prepare(kit: Kit) -> Sequence[str]:
        if content is None:
            (kit.folder / name).mkdir()
        else:
            kit.file(name, content)
        return asked("add", f"FOLDER/{name.partition('/')[0]}", "--name", "qa", "--reason", "r")(kit)

    return prepare


def exported(*options: str) -> Callable[[Kit], Sequence[str]]:
    def prepare(kit: Kit) -> Sequence[str]:
        write_own(kit.folder / "adapter")
        kit.file("taken", "x")
        return ["export", str(kit.folder / "adapter"), *(word.replace("FOLDER", str(kit.folder)) for word in options)]

    return prepare


def register(area: str, what: str, prepare: Callable[[Kit], Sequence[str]], status: int, *says: str) -> Case:
    return Case(area, what, prepare, status, says)


CASES = (
    register("registry", "a folder without one", lambda kit: ["registry", "list", "--registry", str(kit.folder)], 1,
             "holds no registry", "tsugiki registry init"),
    register("registry", "a file in the place of its folder",
             lambda kit: ["registry", "list", "--registry", kit.file("taken", "x")], 1, "taken is no folder"),
    register("registry", "a new one over files",
             lambda kit: ["registry", "init", "--admin", "a", "--registry", str(Path(kit.file("full/x", "x")).parent)],
             1, "full cannot be made: it is not empty"),
    register("registry", "a broken registry.yaml", damaged(lambda at: (at / "registry.yaml").write_text("{{"), "list"),
             1, "registry.yaml is not a registry's settings", "backup"),
    register("registry", "its database deleted", damaged(no_database, "list"), 1, "registry.db is missing", "restore"),
    register("registry", "a database that is none",
             damaged(lambda at: (no_database(at), (at / "registry.db").write_text("x" * 9000)), "list"), 1,
             "is not a registry's database", "restore"),
    register("registry", "a stored file missing", damaged(no_files, "show", "qa@1", "--verify"), 1, "is missing from",
             "backup"),
    register("registry", "letters that are no text", asked("history", "\udcff@1", by=None), 2, "argument is no text"),
    register("registry", "no token", asked("stop", "qa@poc", "--reason", "r", by=None), 1, "TSUGIKI_TOKEN"),
    register("registry", "a token file that does not exist",
             asked("stop", "qa@poc", "--reason", "r", "--token-file", "FOLDER/no.token", by=None), 1,
             "no.token cannot be read"),
    register("registry", "half a token", lambda kit: [*asked("stop", "qa@poc", "--reason", "r", by=None)(kit),
             "--token-file", kit.file("token", "tsg_0123")], 1, "85 characters"),
    register("registry", "a role that may not", asked("approve", "r1", "--reason", "r"), 1, "may not approve"),
    register("registry", "no reason", asked("stop", "qa@poc", "--reason", " "), 1, "The reason is empty", "--reason"),
    register("registry", "a name without a number", asked("show", "qa", by=None), 1, "'qa' names no version", "name@3"),
    register("registry", "a model that is not known", asked("show", "qb@1", by=None), 1, "There is no model qb"),
    register("registry", "a version that is not there", asked("show", "qa@7", by=None), 1, "'7' of qa; the last is 1"),
    register("registry", "an alias never given", asked("show", "qa@production", by=None), 1, "was never given"),
    register("registry", "a stage that the policy lacks", asked("gates", "qa@1", "--stage", "live", by=None), 1,
             "live is no stage", "production"),
    register("registry", "a request that is not there", asked("approve", "r99", "--reason", "r", by="高橋"), 1,
             "There is no request r99"),
    register("registry", "a request whose gates do not pass", asked("request", "qa@1", "--stage", "poc", *ASKS), 3,
             "qa@1 may not go to poc", "tsugiki registry gates"),
    register("registry", "a moment that is none", asked("show", "qa@poc", "--at", "yesterday", by=None), 2,
             "'yesterday' is no moment", "2026-11-02 14:05"),
    register("registry", "a name with a space", asked("add", "FOLDER/first", "--name", "line 3", "--reason", "r"), 1,
             "'line 3' cannot be the name of a model"),
    register("registry", "an empty adapter folder", adapter("empty"), 1, "holds no adapter_model.safetensors"),
    register("registry", "a file in the place of the adapter", adapter("taken", "x"), 1, "is not an adapter folder"),
    register("registry", "a folder with other files", adapter("mixed/run.py", "x"), 1, "'run.py', which is code"),
    register("registry", "an empty comment", asked("review", "r1", "--comment", " ", by="高橋"), 1,
             "The comment is empty", "--comment"),
    register("registry", "a key that is none", lambda kit: [*asked("verify", by=None)(kit), "--public-key",
             kit.file("a.pub", "x")], 1, "a.pub is not an Ed25519 public key"),
    register("registry", "an anchor to nothing", asked("anchor", "--command", "", by="audit"), 2, "it is empty"),
    register("registry", "a file in the place of a backup", lambda kit: ["registry", "restore", kit.file("taken", "x"),
             "--out", str(kit.folder / "new")], 1, "taken holds no finished backup"),
    register("registry", "a backup that is none", lambda kit: ["registry", "restore", str(kit.folder), "--out",
             str(kit.folder / "new")], 1, "backup"),
    register("export", "an adapter that does not exist", line("export", "nowhere", "--to", "card", "--out", "card"), 1,
             "nowhere"),
    register("export", "a form that is not known", exported("--to", "onnx", "--out", "FOLDER/out"), 2, "onnx", "gguf"),
    register("export", "a file in the place of its folder", exported("--to", "card", "--out", "FOLDER/taken"), 2,
             "taken"),
    register("export", "a version without a registry", lambda kit: ["export", "qa@1", "--to", "card", "--out", "card",
             "--registry", str(kit.folder / "nowhere")], 1, "nowhere holds no registry"),
    register("export", "no reason to force it", exported("--to", "card", "--out", "FOLDER/out", "--force", " "), 2,
             "--force has no reason"),
)  # fmt: skip
