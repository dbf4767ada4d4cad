"""`tsugiki registry people …` and `tsugiki registry token …`: who may do what, and how they are known.

Added to the sub-app by `main`. Each command parses, calls one function of work/staff.py, renders. A token is printed
once, by the command that made it.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tsugiki.cli.data import AsJson
from tsugiki.cli.lines import facts, table, when
from tsugiki.cli.registry_options import HERE, Reason, RegistryFolder, SaveToken, TokenFile, acting, opened, token_place
from tsugiki.cli.studies import print_json

people = typer.Typer(name="people", help="Who is in the registry, and as what.", no_args_is_help=True)
token = typer.Typer(name="token", help="Tokens: shown once, expiring, revoked at once.", no_args_is_help=True)

ROLES = "viewer, operator, approver, auditor or admin"
Name = Annotated[str, typer.Argument(help="name of the person", show_default=False)]
Role = Annotated[str, typer.Option("--role", help=ROLES)]
Days = Annotated[int, typer.Option("--days", help="days that the token lasts, at most 365")]
ONCE = "token, shown this once"


@people.command("add")
def people_add(
    name: Name,
    role: Role,
    reason: Reason,
    days: Days = 90,
    save_token: SaveToken = None,
    registry: RegistryFolder = HERE,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Add a person and print the first token, this once."""
    from tsugiki.work import staff

    records = opened(registry)
    actor, place = acting(records, token_file), token_place(save_token)
    made, text = staff.add_person(records, name, role, days=days, actor=actor, reason=reason)
    shown = place(text)
    if as_json:
        print_json({"name": made.name, "role": made.role, "token": shown})
        return
    facts([("person", made.name), ("role", made.role), (ONCE, shown), ("token saved to", save_token)])


@people.command("list")
def people_list(registry: RegistryFolder = HERE, as_json: AsJson = False) -> None:
    """Everybody who is or was in the registry."""
    from tsugiki.work import staff

    found = staff.list_people(opened(registry))
    if as_json:
        print_json([asdict(one) for one in found])
        return
    rows = [(one.name, one.role, "active" if one.active else "removed", when(one.created_at)) for one in found]
    table(("name", "role", "state", "since"), rows, empty="nobody")


@people.command("role")
def people_role(
    name: Name,
    role: Annotated[str, typer.Argument(help=ROLES, show_default=False)],
    reason: Reason,
    save_token: SaveToken = None,
    registry: RegistryFolder = HERE,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Give a person another role, and a token for it; those of the old role are revoked."""
    from tsugiki.work import staff

    records = opened(registry)
    actor, place = acting(records, token_file), token_place(save_token)
    made, text = staff.change_role(records, name, role, actor=actor, reason=reason)
    shown = place(text)
    if as_json:
        print_json({"name": made.name, "role": made.role, "token": shown})
        return
    facts([("person", made.name), ("role", made.role), (ONCE, shown), ("token saved to", save_token)])


@people.command("remove")
def people_remove(
    name: Name,
    reason: Reason,
    registry: RegistryFolder = HERE,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Remove a person and revoke all tokens; the name stays in the ledger and is not used again."""
    from tsugiki.work import staff

    records = opened(registry)
    revoked = staff.remove_person(records, name, actor=acting(records, token_file), reason=reason)
    if as_json:
        print_json({"name": name, "revoked_tokens": revoked})
        return
    facts([("removed", name), ("tokens revoked", revoked)])


@token.command("create")
def token_create(
    name: Name,
    reason: Reason,
    days: Days = 90,
    scope: Annotated[
        str | None, typer.Option(help="read, write, decide, admin, with commas; all of the role if left out")
    ] = None,
    save_token: SaveToken = None,
    registry: RegistryFolder = HERE,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Make another token for a person and print it, this once."""
    from tsugiki.work import staff

    records = opened(registry)
    scopes = None if scope is None else [part.strip() for part in scope.split(",") if part.strip()]
    actor, place = acting(records, token_file), token_place(save_token)
    made, text = staff.create_token(records, name, scopes=scopes, days=days, actor=actor, reason=reason)
    shown = place(text)
    if as_json:
        print_json({**asdict(made), "token": shown})
        return
    facts(
        [
            ("token of", made.person),
            ("scope", made.scopes),
            ("expires", when(made.expires_at)),
            ("id", made.id),
            (ONCE, shown),
            ("token saved to", save_token),
        ]
    )


@token.command("recover")
def token_recover(
    name: Name,
    key: Annotated[Path, typer.Option("--key", help="the registry's private key, keys/ledger.key", show_default=False)],
    reason: Reason,
    save_token: SaveToken = None,
    registry: RegistryFolder = HERE,
    as_json: AsJson = False,
) -> None:
    """Make a token for an admin when no admin has one that works, with the registry's private key."""
    from tsugiki.work import staff

    records, place = opened(registry), token_place(save_token)
    made, text = staff.recover_token(records, name, key, reason=reason)
    shown = place(text)
    if as_json:
        print_json({**asdict(made), "token": shown})
        return
    facts([("token of", made.person), ("id", made.id), (ONCE, shown), ("token saved to", save_token)])


@token.command("list")
def token_list(registry: RegistryFolder = HERE, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """All tokens for an admin, your own for anybody else; never a secret."""
    from tsugiki.records.times import now
    from tsugiki.work import staff

    records = opened(registry)
    found = staff.list_tokens(records, actor=acting(records, token_file))
    if as_json:
        print_json([{**asdict(one), "state": one.state(now())} for one in found])
        return
    rows = [(one.id, one.person, one.scopes, one.state(now()), when(one.expires_at)) for one in found]
    table(("id", "person", "scope", "state", "expires"), rows, empty="no tokens")


@token.command("revoke")
def token_revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="id of the token, as the list shows it")],
    reason: Reason,
    registry: RegistryFolder = HERE,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Refuse a token from now on; an admin may revoke any, everybody their own."""
    from tsugiki.work import staff

    records = opened(registry)
    found = staff.revoke_token(records, token_id, actor=acting(records, token_file), reason=reason)
    if as_json:
        print_json(asdict(found))
        return
    facts([("revoked", found.id), ("person", found.person)])
