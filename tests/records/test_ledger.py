from __future__ import annotations

from tsugiki.records.history import history
from tsugiki.records.ledger import NewEvent, append, head
from tsugiki.records.open import Records


def test_an_event_and_its_rows_are_there_together(records: Records, person) -> None:
    move = {"alias_moves": [{"model": "qa", "alias": "production"}]}
    with records.database.writing() as connection:
        first = append(connection, NewEvent(person, "alias.moved", "qa@production", reason="初回"), move)
    with records.database.reading() as connection:
        assert history(connection, model="qa", alias="production") == [first]
        assert head(connection).hash == first.hash
