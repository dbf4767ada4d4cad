"""The one place that decides whether a text may name something: models, aliases, people, and paths inside a folder.

Called wherever a name comes from outside: the command line, an adapter folder, an archive, a manifest. What passes is
safe as a file name on Linux, macOS and Windows, as a part of a URL, and on a screen: it shows what it is. Never touches
the disk, but for `inside`, which resolves links to see that a path stays where it belongs.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from tsugiki.errors import RecordsError

LONGEST_NAME, LONGEST_PATH, DEEPEST_PATH = 100, 400, 16
LONGEST_BYTES = 240  # of one name in UTF-8; file systems take 255, and a suffix must still fit
PUNCTUATION = "-_."
# What Windows opens as a device, whatever the extension.
DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9]|conin\$|conout\$)(\..*)?", re.IGNORECASE)
# Letters and marks that are drawn as nothing, so that two different names would look the same.
INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
NAME_RULE = "Use letters of any script, digits, '-', '_' and '.', at most 100 characters, no dot or '-' in front."
PATH_RULE = "Use a relative path such as 'evidence/scorecard.json'."


def check_name(text: str, what: str) -> str:
    """The name in its composed form (NFC). Raises RecordsError with `what` it was to name and what is wrong."""
    composed = unicodedata.normalize("NFC", text)
    if fault := _fault(composed):
        raise RecordsError(f"{shown(text)} cannot be {what}: {fault}.", fix=NAME_RULE)
    return composed


def check_path(text: str, what: str = "a path inside a folder") -> str:
    """A relative path with `/` between names that are safe each, as it was given. Raises RecordsError."""
    names = text.split("/")
    if not text:
        fault = "it is empty"
    elif len(text) > LONGEST_PATH or len(names) > DEEPEST_PATH:
        fault = f"it is longer than {LONGEST_PATH} characters or deeper than {DEEPEST_PATH} folders"
    elif text.startswith("/"):
        fault = "it is absolute"
    elif unicodedata.normalize("NFC", text) != text:
        fault = "it is not in its composed form (NFC)"
    else:
        fault = next(filter(None, map(_fault, names)), "")
    if fault:
        raise RecordsError(f"{shown(text)} cannot be {what}: {fault}.", fix=PATH_RULE)
    return text


def inside(folder: Path, relative: str) -> Path:
    """`folder / relative`, which neither its text nor a link on the way leads out of it. Raises RecordsError."""
    path = folder / check_path(relative)
    if not path.resolve().is_relative_to(folder.resolve()):
        raise RecordsError(f"{shown(relative)} leads out of {folder} through a link.", fix="Remove the link.")
    return path


def shown(text: str) -> str:
    """A foreign text for a message: quoted, in one line, with what is not printable escaped, cut where it is long."""
    return repr(text if len(text) <= 120 else f"{text[:80]}…{text[-30:]}")


def _fault(name: str) -> str:
    """What is wrong with one name, or nothing."""
    odd = next((one for one in name if not _allowed(one)), None)
    faults = {
        "a name in it is empty": not name,
        f"{name!r} is a step, not a name": name in (".", ".."),
        "it starts with a dot": name.startswith("."),
        "it starts with '-', as options of commands do": name.startswith("-"),
        "it ends with a dot": name.endswith("."),
        f"it has more than {LONGEST_NAME} characters or {LONGEST_BYTES} bytes": (
            len(name) > LONGEST_NAME or len(name.encode("utf-8", "surrogatepass")) > LONGEST_BYTES
        ),
        f"it holds {_named(odd or '')}": odd is not None,
        "it starts with a mark that belongs to a letter": unicodedata.category(name[:1] or "a").startswith("M"),
        "Windows opens a device under that name": DEVICES.fullmatch(name) is not None,
    }
    return next((fault for fault, is_so in faults.items() if is_so), "")


def _named(character: str) -> str:
    return repr(character) if character.isprintable() else f"U+{ord(character):04X}, which nobody sees"


def _allowed(character: str) -> bool:
    category = unicodedata.category(character)
    kind = category[0] in "LM" or category == "Nd" or character in PUNCTUATION
    return kind and not INVISIBLE.match(character)
