"""The policy of a registry, its stages and the gates of each: read strictly, written as a default, put in force.

Called by the lifecycle, which takes the policy in force, and by `tsugiki registry policy`. What is in force is what the
ledger says: the text of the newest `policy.changed` event, or the packaged default before the first. policy.yaml in the
registry's folder is a copy to read; when somebody has edited it, nothing is decided until it is put in force or undone.
Never judges a version; that is work/gates.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from sqlalchemy import Connection

from tsugiki.config import Knobs, LanguageName
from tsugiki.errors import RecordsError
from tsugiki.files import write_text
from tsugiki.fingerprint import digest_json
from tsugiki.records.ledger import Event, NewEvent, append, history
from tsugiki.records.open import Records
from tsugiki.records.rights import Actor, require
from tsugiki.records.safe_names import check_name
from tsugiki.work.reason import said
from tsugiki.yaml_once import read_yaml

POLICY_FILE, POLICY_OBJECT, POLICY_KIND = "policy.yaml", "policy", "policy.changed"
LARGEST_BYTES = 100_000
TEMPLATES = Path(__file__).parent / "templates"

FromStudy = Literal["study"]
FROM_STUDY = {"quality_at_least": 1, "worse_than_full_at_most": 100, "retention_loss_at_most": 100}  # largest number
Share = Annotated[float, Field(ge=0, le=1)]
Number = Annotated[float, Field(ge=0, le=100)]


class Gates(Knobs):
    """What a version has to show for one stage; null switches a gate off. Defaults are those of production."""

    verdict: tuple[Literal["adopt", "conditional"], ...] | None = Field(
        ("adopt",), description="verdicts of the study that pass"
    )
    quality_at_least: Share | FromStudy | None = Field(
        "study", description="what the lower end of the quality's interval has to reach (0 to 1)"
    )
    worse_than_full_at_most: Number | FromStudy | None = Field(
        "study", description="points by which it may be worse than full fine-tuning"
    )
    retention_loss_at_most: Number | FromStudy | None = Field(
        "study", description="rise of the loss on general text, in nats per token"
    )
    slice_worse_at_most: Number | None = Field(
        10.0, description="points by which a slice may surely be worse than the whole"
    )
    evidence_days: int | None = Field(180, ge=1, le=3650, description="age of the study in days")
    compatibility: tuple[str, ...] = Field(("embedded",), description="targets whose compatibility check passed")
    licence_and_purpose: bool = Field(True, description="licence and purpose are stated for all data")

    @field_validator("verdict")
    @classmethod
    def _refuse_none_at_all(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and (not value or len(set(value)) != len(value)):
            raise ValueError("verdict must name adopt, conditional or both, once each, or be null")
        return value


class Stage(Knobs):
    """One stage, which is also the name of the alias that it moves."""

    after: str | None = Field(description="the stage that a version must have had before, or null")
    approvals: int = Field(1, ge=1, le=9, description="how many people must approve")
    approval_days: int = Field(30, ge=1, le=365, description="days after which an unused approval has expired")
    reevaluate_days: int = Field(180, ge=1, le=3650, description="days until it is decided again")
    gates: Gates = Field(Gates(), description="what the version has to show")


class Policy(Knobs):
    format: Literal[1] = Field(description="format of this file")
    stages: dict[str, Stage] = Field(min_length=1, description="the stages by name")

    @model_validator(mode="after")
    def _refuse_broken_order(self) -> Policy:
        for name, stage in self.stages.items():
            seen, before = [name], stage.after
            while before is not None:
                if before not in self.stages:
                    raise ValueError(f"stage {seen[-1]} comes after {before}, which is no stage")
                if before in seen:
                    raise ValueError(f"stage {name} would have to come before itself")
                seen.append(before)
                before = self.stages[before].after
        return self

    @property
    def digest(self) -> str:
        """Of what it says; comments and the order of keys do not count."""
        return digest_json(self.model_dump(mode="json"))

    def stage(self, name: str) -> Stage:
        """Raises RecordsError for a stage that the policy does not have: what is not in it is not allowed."""
        if name not in self.stages:
            raise RecordsError(
                f"{name or 'Nothing'} is no stage of the policy.",
                fix=f"Its stages are: {', '.join(self.stages)}.",
            )
        return self.stages[name]


@dataclass(frozen=True)
class InForce:
    policy: Policy
    text: str
    since: int | None  # the event that put it in force; None: the default


def default_text(language: LanguageName = "en") -> str:
    return (TEMPLATES / f"policy.{language}.yaml").read_text(encoding="utf-8")


def parse_policy(text: str, *, source: str) -> Policy:
    """Raises RecordsError naming the first fault, and the nearest known name of a key that is not known."""
    try:
        values = read_yaml(text)
    except ValueError as error:
        raise RecordsError(f"{source}{error}.", fix=_HINT) from None
    if not isinstance(values, dict):
        raise RecordsError(f"{source} holds no policy.", fix=_HINT)
    try:
        policy = Policy.model_validate(_tuples(values))
    except ValidationError as error:
        raise RecordsError(f"{source}: {_fault(error.errors()[0])}.", fix=_HINT) from None
    for name in policy.stages:
        check_name(name, "the name of a stage")
        if name.isdecimal():
            raise RecordsError(
                f"{source}: {name} cannot be the name of a stage, since name@{name} is a version.", fix="Add a letter."
            )
    return policy


def read_policy_file(path: Path) -> tuple[Policy, str]:
    try:
        content = path.read_bytes()
        if len(content) > LARGEST_BYTES:
            raise RecordsError(f"{path} has {len(content)} bytes, too many for a policy.", fix=_HINT)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise RecordsError(f"{path} cannot be read: {error.strerror}.", fix=_HINT) from None
    except UnicodeDecodeError:
        raise RecordsError(f"{path} is not in UTF-8.", fix="Save it as UTF-8.") from None
    return parse_policy(text, source=str(path)), text


def policy_in_force(records: Records, connection: Connection) -> InForce:
    """Raises RecordsError where policy.yaml in the registry's folder says something else than the ledger."""
    newest = _newest(connection)
    text = default_text() if newest is None else newest.after["text"]
    found = InForce(parse_policy(text, source="The policy in force"), text, None if newest is None else newest.seq)
    copy = records.folder / POLICY_FILE
    if copy.exists() and read_policy_file(copy)[0].digest != found.policy.digest:
        raise RecordsError(
            f"{copy} was edited and is not in force.",
            fix=f"Put it in force: tsugiki registry policy --set {copy} --reason WHY; or delete it to undo the edit.",
        )
    return found


def set_policy(records: Records, path: Path, *, actor: Actor, reason: str) -> InForce:
    """Put the policy in `path` in force: an event with both digests and its text, then the copy in the folder."""
    require(actor, "change-policy")
    why = said(reason)
    policy, text = read_policy_file(path)
    with records.database.writing() as connection:
        newest = _newest(connection)
        before = parse_policy(default_text(), source="The default").digest if newest is None else newest.after["digest"]
        if before == policy.digest:
            raise RecordsError(f"{path} says what is in force already.", fix="Change a stage or a gate first.")
        made = append(
            connection,
            NewEvent(
                actor=actor,
                kind=POLICY_KIND,
                object=POLICY_OBJECT,
                before={"digest": before},
                after={"digest": policy.digest, "text": text},
                reason=why,
            ),
        )
    write_text(records.folder / POLICY_FILE, text)
    return InForce(policy, text, made.seq)


def _newest(connection: Connection) -> Event | None:
    return next(iter(history(connection, object=POLICY_OBJECT, limit=1)), None)


_HINT = "Write one to start from with: tsugiki registry policy --write FILE."


def _tuples(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _tuples(inner) for key, inner in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _fault(item: Any) -> str:
    """One fault of pydantic's list; the union of a number, study and null is said as one thing."""
    place = [str(part) for part in item["loc"] if not str(part).startswith(("constrained-float", "literal["))]
    where, message = ".".join(place) or "the policy", str(item["msg"]).removeprefix("Value error, ")
    if place[-1:] and place[-1] in FROM_STUDY:
        return f"{where} must be a number from 0 to {FROM_STUDY[place[-1]]}, study or null, got {item['input']!r}"
    if item["type"] == "extra_forbidden":
        kind: type[Knobs] = Gates if "gates" in place[:-1] else Stage if len(place) == 3 else Policy
        return f"{where} is not a known key{_nearest(place[-1], kind.model_fields)}"
    if item["type"] == "missing":
        return f"{where} is missing"
    if item["type"] == "value_error":
        return message
    return f"{where}: {message[0].lower()}{message[1:]}, got {item['input']!r}"


def _nearest(name: str, known: Any) -> str:
    close = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}" if close else f"; known are {', '.join(known)}"
