"""Who may do what in a registry: one table, verb by verb. What is not in the table is refused.

Called by every function of `work/` that changes a registry, through `require`, and by the command line for the verbs
that only read. A verb names the roles that may use it and the scope that a token needs for it. Never looks at a
database: who is acting was settled before (records/people.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from tsugiki.errors import RecordsError

Role = Literal["viewer", "operator", "approver", "auditor", "admin"]
Scope = Literal["read", "write", "decide", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
SCOPES: tuple[Scope, ...] = get_args(Scope)

# What a token of a role gets where nothing narrower is asked for; a wider one is refused.
SCOPES_OF_ROLE: Mapping[Role, tuple[Scope, ...]] = {
    "viewer": ("read",),
    "operator": ("read", "write"),
    "approver": ("read", "write", "decide"),
    "auditor": ("read", "write"),
    "admin": ("read", "write", "admin"),
}


@dataclass(frozen=True)
class Actor:
    """Who is acting. `auth` says how that is known, such as `token:<id>`, never with the secret."""

    name: str
    role: Role
    auth: str
    scopes: tuple[Scope, ...]


@dataclass(frozen=True)
class Right:
    roles: tuple[Role, ...]
    scope: Scope


_READ = Right(ROLES, "read")
_OPERATE = Right(("operator",), "write")
_HALT = Right(("operator", "approver"), "write")
_DECIDE = Right(("approver",), "decide")
_AUDIT = Right(("auditor",), "write")
_ADMINISTER = Right(("admin",), "admin")

# Reading needs no token on the machine that holds the registry: the permissions of its files protect it. The entries
# are for whoever reads from further away.
RIGHTS: Mapping[str, Right] = {
    "list": _READ,
    "show": _READ,
    "history": _READ,
    "verify": _READ,
    "requests": _READ,
    "gates": _READ,
    "policy": _READ,
    "people": _READ,
    "tokens": _ADMINISTER,
    "add": _OPERATE,
    "attach": _OPERATE,
    "request": _OPERATE,
    "promote": _OPERATE,
    "rollback": _HALT,
    "stop": Right(("operator", "approver", "admin"), "write"),
    "review": _DECIDE,
    "approve": _DECIDE,
    "reject": _DECIDE,
    "renew": _DECIDE,
    "withdraw": _DECIDE,
    "export-evidence": _AUDIT,
    "anchor": _AUDIT,
    "change-people": _ADMINISTER,
    "change-tokens": _ADMINISTER,
    "change-policy": _ADMINISTER,
    "backup": _ADMINISTER,
    "upgrade": _ADMINISTER,
    "gc": _ADMINISTER,
    "retention": _ADMINISTER,
    "mirror": _ADMINISTER,
}


def require(actor: Actor, verb: str) -> None:
    """Raise RecordsError unless the table lets this role and this token do `verb`."""
    right = RIGHTS.get(verb)
    if right is None:
        raise RecordsError(f"Nobody may {verb}: it has no entry in the table of rights.", fix="Report this as a bug.")
    if actor.role not in right.roles:
        raise RecordsError(
            f"{actor.name} is {_article(actor.role)} and may not {verb}.",
            fix=f"Ask {' or '.join(_article(role) for role in right.roles)}.",
        )
    if right.scope not in actor.scopes:
        raise RecordsError(
            f"The token of {actor.name} has the scope {','.join(actor.scopes)}, which is not enough to {verb}.",
            fix=f"Use a token with the scope {right.scope}.",
        )


def _article(role: str) -> str:
    return f"an {role}" if role[0] in "aeio" else f"a {role}"
