"""A new registry with its first person, an admin, and that person's token.

Called by `tsugiki registry init`. There is no default password and no second way in: the token is returned once and is
nowhere afterwards. A registry whose making was cut short before it had a person is completed, not refused.
"""

from __future__ import annotations

from pathlib import Path

from tsugiki.errors import RecordsError
from tsugiki.records.open import SETTINGS, Founder, Records, create_records, open_registry
from tsugiki.records.people import add_person, people
from tsugiki.records.safe_names import check_name
from tsugiki.records.tokens import create_token

REASON = "the registry was made"


def found_registry(folder: Path, *, admin: str, database: str, store: str) -> tuple[Records, str]:
    """Make the registry and its first admin; returns it and the admin's token. Raises RecordsError."""
    admin = check_name(admin, "the name of a person")
    if (folder / SETTINGS).exists():
        records = open_registry(folder)
    else:
        records = create_records(folder, admin=admin, database=database, store=store)
    founder = Founder(admin)
    with records.database.writing() as connection:
        if people(connection):
            raise RecordsError(f"{folder} is a registry already.", fix="Name another folder with --registry.")
        add_person(connection, admin, "admin", actor=founder, reason=REASON)
        _, token = create_token(connection, admin, actor=founder, reason=REASON)
    return records, token
