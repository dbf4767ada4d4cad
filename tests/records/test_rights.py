from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from tests.records.registries import person
from tsugiki.errors import RecordsError
from tsugiki.records.rights import RIGHTS, ROLES, SCOPES, SCOPES_OF_ROLE, Actor, require

ROOT = Path(__file__).resolve().parents[2]
EVERYBODY = set(ROLES)
# Written out once more by hand: a verb or a role that is let in by mistake stands out here.
MAY = {
    "list": EVERYBODY, "show": EVERYBODY, "history": EVERYBODY, "verify": EVERYBODY, "requests": EVERYBODY,
    "gates": EVERYBODY, "policy": EVERYBODY, "people": EVERYBODY, "tokens": {"admin"},
    "add": {"operator"}, "attach": {"operator"}, "request": {"operator"},
    "promote": {"operator"},
    "rollback": {"operator", "approver"}, "stop": {"operator", "approver", "admin"},
    "review": {"approver"}, "approve": {"approver"}, "reject": {"approver"}, "renew": {"approver"},
    "withdraw": {"approver"}, "export-evidence": {"auditor"}, "anchor": {"auditor"},
    "change-people": {"admin"}, "change-tokens": {"admin"}, "change-policy": {"admin"},
    "backup": {"admin"}, "gc": {"admin"}, "retention": {"admin"}, "mirror": {"admin"}, "upgrade": {"admin"},
}  # fmt: skip


def may(actor: Actor, verb: str) -> bool:
    try:
        require(actor, verb)
    except RecordsError:
        return False
    return True


@pytest.mark.parametrize(("verb", "role"), itertools.product(sorted(RIGHTS), ROLES))
def test_each_verb_lets_in_its_roles_and_nobody_else(verb: str, role: str):
    assert may(person("x", role), verb) == (role in MAY[verb])  # type: ignore[arg-type]


def test_no_verb_is_missing_on_either_side():
    assert set(RIGHTS) == set(MAY)


def test_every_verb_that_code_asks_about_is_in_the_table_and_no_other():
    asked = {
        verb
        for path in (ROOT / "src").rglob("*.py")
        for verb in re.findall(r"""\brequire\(actor, "([a-z-]+)"\)""", path.read_text(encoding="utf-8"))
    }
    reading = {verb for verb in RIGHTS if RIGHTS[verb].scope == "read"}
    assert asked == set(RIGHTS) - reading


def test_what_is_not_in_the_table_is_refused_to_everybody():
    for role in ROLES:
        with pytest.raises(RecordsError, match="Nobody may fly: it has no entry in the table of rights"):
            require(person("x", role), "fly")


@pytest.mark.parametrize("verb", sorted(RIGHTS))
def test_a_token_needs_the_scope_of_the_verb(verb: str):
    for role in MAY[verb]:
        for scope in SCOPES:
            actor = Actor("x", role, "token:1", (scope,))  # type: ignore[arg-type]
            assert may(actor, verb) == (scope == RIGHTS[verb].scope)


def test_admins_do_not_decide_and_say_so():
    assert "decide" not in SCOPES_OF_ROLE["admin"]
    with pytest.raises(RecordsError, match=r"x is an admin and may not approve\. Ask an approver\."):
        require(person("x", "admin"), "approve")
