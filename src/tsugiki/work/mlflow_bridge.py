"""To MLflow and from it: runs, versions and aliases are mirrored there, and an adapter of a run can be added here.

Called by `tsugiki registry mlflow …`, and after a change where MLFLOW_TRACKING_URI is set. Needs the extra `mlflow`;
nothing else of tsugiki imports it. The mirror goes one way and can be repeated: everything is found again by its tags,
and what is there already is left alone. A server that does not answer never keeps a change from happening. Sends
numbers, names and digests; never files, texts of rows or reasons. Models of the same name that this registry did not
make are left alone.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsugiki.errors import RecordsError, UsageError
from tsugiki.records.adapter_folder import ALLOWED
from tsugiki.records.aliases import alias_at, aliases_of
from tsugiki.records.open import Records
from tsugiki.records.packs import PackRow, files_of, packs_of
from tsugiki.records.rights import Actor, require
from tsugiki.records.safe_names import check_path
from tsugiki.records.versions import Version, find_version, version_lines
from tsugiki.work.item_texts import parsed
from tsugiki.work.register import Stated, add_version

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

URI = "MLFLOW_TRACKING_URI"
REGISTRY, DIGEST, VERSION, RUN = "tsugiki.registry", "tsugiki.digest", "tsugiki.version", "tsugiki.run"
MOST = 1000  # entries of one answer
# After a change nobody wants to wait minutes for a server that is down.
HURRY = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
NUMBERS = ("dev_loss", "wall_seconds", "trainable_parameters", "trainable_share", "adapter_bytes", "answer_seconds")
TRAINING = ("seconds", "tokens_per_second", "steps", "best_step", "best_dev_loss")


@dataclass
class Mirrored:
    """What was written this time; `problems` are sentences about single things that MLflow refused."""

    uri: str
    runs: int = 0
    versions: int = 0
    aliases: int = 0
    problems: list[str] = field(default_factory=list)


def tracking_uri(given: str | None = None) -> str:
    """Raises UsageError where neither an option nor the environment names a server."""
    uri = given or os.environ.get(URI, "")
    if not uri:
        raise UsageError("No MLflow server is named.", fix=f"Set {URI}, or name it with --uri.")
    return uri


def mirror(records: Records, uri: str, *, actor: Actor) -> Mirrored:
    """Bring MLflow up to date. Raises RecordsError where it does not answer; then the command can be repeated."""
    require(actor, "mirror")
    return _mirror(records, uri)


def _mirror(records: Records, uri: str) -> Mirrored:
    found = Mirrored(uri)
    with _told(uri), _one_at_a_time(records):
        client = _client(uri)
        for model in _models(records):
            _mirror_model(client, records, model, found)
    return found


def mirror_quietly(records: Records) -> str | None:
    """Mirror where MLFLOW_TRACKING_URI is set; says in one sentence what went wrong, and never raises for MLflow."""
    if not os.environ.get(URI):
        return None
    for name, value in HURRY.items():
        os.environ.setdefault(name, value)
    try:
        problems = _mirror(records, tracking_uri()).problems
    except RecordsError as error:
        return str(error)
    return problems[0] if problems else None


def import_run(records: Records, uri: str, run: str, facts: Stated, *, path: str, actor: Actor, reason: str) -> Version:
    """Add the adapter in the artifacts of an MLflow run as a version; `path` is its folder among them ("" for the top).

    Only files that an adapter folder may hold are fetched, then read with the same suspicion as any other. Raises
    RecordsError where the run or the adapter is not there, or the adapter is not sound.
    """
    require(actor, "add")
    place = check_path(path) + "/" if path else ""
    with tempfile.TemporaryDirectory(prefix="tsugiki-mlflow-") as name:
        folder, fetched = Path(name) / "adapter", Path(name) / "fetched"
        folder.mkdir()
        fetched.mkdir()
        with _told(uri):
            client = _client(uri)
            there = {entry.path for entry in client.list_artifacts(run, path or None)}
            wanted = [file for file in ALLOWED if place + file in there]
            for file in wanted:
                Path(client.download_artifacts(run, place + file, str(fetched))).replace(folder / file)
        if not wanted:
            raise RecordsError(
                f"The run {run} has no adapter in {path or 'its artifacts'}.",
                fix="Name the adapter's folder with --path.",
            )
        return add_version(records, folder, facts, actor=actor, reason=reason or f"from MLflow run {run}")


@dataclass(frozen=True)
class _Model:
    """A model with its versions, oldest first, their study packs, and where its aliases point (None: nowhere)."""

    name: str
    versions: tuple[tuple[Version, tuple[tuple[PackRow, Mapping[str, str]], ...]], ...]
    aliases: Mapping[str, str | None]


def _models(records: Records) -> list[_Model]:
    found: dict[str, list[Version]] = {}
    with records.database.reading() as connection:
        for line in version_lines(connection):
            version = find_version(connection, f"{line.model}@{line.number}")
            found.setdefault(line.model, []).insert(0, version)
        return [
            _Model(
                name,
                tuple(
                    (
                        version,
                        tuple(
                            (pack, files_of(connection, pack.seq))
                            for pack in packs_of(connection, version.seq)
                            if pack.kind == "study"
                        ),
                    )
                    for version in versions
                ),
                {alias: alias_at(connection, name, alias).digest for alias in aliases_of(connection, name)},
            )
            for name, versions in found.items()
        ]


def _mirror_model(client: MlflowClient, records: Records, model: _Model, found: Mirrored) -> None:
    registry, there = records.settings.id, client.search_registered_models(f"name = '{model.name}'")
    if there and there[0].tags.get(REGISTRY) != registry:
        found.problems.append(f"MLflow has a model {model.name} that is not of this registry; it was left alone.")
        return
    if not there:
        client.create_registered_model(model.name, tags={REGISTRY: registry})
    known = {one.tags.get(DIGEST): one.version for one in client.search_model_versions(f"name = '{model.name}'")}
    for version, packs in model.versions:
        runs: dict[str, str] = {}
        for pack, files in packs:
            runs |= _mirror_runs(client, records, model.name, pack, files, found)
        if version.digest not in known:
            trained = next((pack.manifest["summary"] for pack, _ in packs), None)
            made = client.create_model_version(
                model.name,
                source=f"tsugiki:{registry}/{version.number}",
                run_id=runs.get(f"{trained['study']}/{trained['trial']}") if trained else None,
                tags={REGISTRY: registry, DIGEST: version.digest, VERSION: version.label},
                await_creation_for=0,
            )
            known[version.digest] = made.version
            found.versions += 1
    _mirror_aliases(client, model, known, found)


def _mirror_aliases(client: MlflowClient, model: _Model, known: Mapping[str | None, str], found: Mirrored) -> None:
    from mlflow.exceptions import MlflowException

    there = {name: str(number) for name, number in client.get_registered_model(model.name).aliases.items()}
    for alias, digest in model.aliases.items():
        wanted = None if digest is None else str(known[digest])
        if there.get(alias) == wanted:
            continue
        try:
            if wanted is None:
                client.delete_registered_model_alias(model.name, alias)
            else:
                client.set_registered_model_alias(model.name, alias, wanted)
            found.aliases += 1
        except MlflowException as error:  # a name that MLflow does not allow
            found.problems.append(f"MLflow refuses the alias {alias} of {model.name}: {_first_line(error)}")


def _mirror_runs(
    client: MlflowClient, records: Records, model: str, pack: PackRow, files: Mapping[str, str], found: Mirrored
) -> dict[str, str]:
    """The trials of a pack as runs; returns MLflow's id of each by study and trial."""
    study, name = pack.manifest["summary"]["study"], f"tsugiki/{model}"
    there = client.get_experiment_by_name(name)
    experiment = there.experiment_id if there else client.create_experiment(name, tags={REGISTRY: records.settings.id})
    known = {
        run.data.tags[RUN]: run.info
        for run in client.search_runs([experiment], f"tags.`tsugiki.study` = '{study}'", max_results=MOST)
        if RUN in run.data.tags
    }
    done: dict[str, str] = {}
    for path, digest in sorted(files.items()):
        if not path.startswith("trials/") or not records.store.exists(digest):
            continue
        trial = parsed(path, records.store.read(digest))
        mark = f"{study}/{trial['id']}"
        info = known.get(mark)
        if info is None or info.status == "RUNNING":  # a mirror that was cut short goes on
            tags = {RUN: mark, "tsugiki.study": study, "tsugiki.kind": trial["kind"], REGISTRY: records.settings.id}
            run = info.run_id if info else client.create_run(experiment, tags=tags, run_name=trial["id"]).info.run_id
            _log(client, run, trial)
            found.runs += 1
            done[mark] = run
        else:
            done[mark] = info.run_id
    return done


def _log(client: MlflowClient, run: str, trial: Mapping[str, Any]) -> None:
    from mlflow.entities import Metric, Param

    params = {
        **trial["spec"]["recipe"],
        "method": trial.get("method"),
        "seed": trial.get("seed"),
        "rows": trial.get("rows"),
    }
    client.log_batch(
        run,
        metrics=[Metric(name, value, 0, 0) for name, value in _metrics(trial)],
        params=[Param(name, str(value)) for name, value in sorted(params.items()) if value is not None],
    )
    client.set_terminated(run, "FINISHED" if trial["status"] == "done" else "FAILED")


def _metrics(trial: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name in NUMBERS:
        if isinstance(trial.get(name), int | float):
            yield name, float(trial[name])
    for name in TRAINING:
        if isinstance(trial.get("training", {}).get(name), int | float):
            yield f"training.{name}", float(trial["training"][name])
    for metric, scores in trial.get("scores", {}).items():
        yield f"score.{metric}", sum(scores) / len(scores)
    for name, value in trial.get("memory", {}).items():
        if isinstance(value, int):
            yield f"memory.{name}", float(value)


def _client(uri: str) -> MlflowClient:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nothing but what was asked for leaves this machine
    try:
        from mlflow.tracking import MlflowClient
    except ModuleNotFoundError:
        raise RecordsError("MLflow is not installed.", fix="Install it with: pip install 'tsugiki[mlflow]'") from None
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


@contextmanager
def _one_at_a_time(records: Records) -> Iterator[None]:
    """Two mirrors at once would both find nothing and write everything twice."""
    with (records.folder / "mlflow.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def _told(uri: str) -> Iterator[None]:
    """Whatever the library raises, a server's answer or none at all, in one sentence."""
    try:
        yield
    except (RecordsError, UsageError):
        raise
    except Exception as error:
        raise RecordsError(
            f"MLflow at {uri} does not do as asked: {_first_line(error)}.",
            fix="Nothing in the registry depends on it; run the command again: tsugiki registry mlflow mirror",
        ) from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")[:300]
