"""Why something is done: asked for with every change of a registry, never empty, kept by the ledger.

Called by every verb that takes a reason.
"""

from __future__ import annotations

from tsugiki.errors import RecordsError

LONGEST_REASON = 2000  # characters


def said(reason: str, what: str = "reason") -> str:
    """The reason without blanks around it; `what` names the option that gives it.

    Raises RecordsError where nothing is said, or a whole book.
    """
    stripped = reason.strip()
    if not stripped or len(stripped) > LONGEST_REASON:
        raise RecordsError(
            f"The {what} is empty." if not stripped else f"The {what} has {len(stripped)} characters.",
            fix=f"Give 1 to {LONGEST_REASON} characters with --{what}; the ledger keeps them.",
        )
    return stripped
