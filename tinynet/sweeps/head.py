"""``sweep.json``: which sweep a folder is of, for people to read, with a checksum of what it tells."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tinynet.base.checks import whole
from tinynet.base.errors import ModelFileError
from tinynet.exchange.archive import without_doubles
from tinynet.exchange.atomic import atomic_open
from tinynet.exchange.remote import RemotePath

FORMAT, VERSION, HEAD = "tinynet sweep", 1, "sweep.json"

Identity = dict[str, Any]


def write_head(folder: Path | RemotePath, identity: Identity) -> None:
    """Write what makes a sweep, as JSON can hold it, with its "settings", "seeds" and "groups"."""
    head = {"format": FORMAT, "version": VERSION, "sha256": _digest(identity), "identity": identity}
    with atomic_open(folder / HEAD) as file:
        file.write(json.dumps(head, indent=1).encode())


def read_head(folder: Path | RemotePath) -> Identity:
    """Return what makes the sweep in a folder.

    Heads of earlier versions have no checksum. Of them it is checked that their parts fit each other, as of all.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ModelFileError
        If it is damaged, or of something else.
    """
    name = str(folder / HEAD)
    text = (folder / HEAD).read_bytes()
    try:
        head = json.loads(text, object_pairs_hook=without_doubles)
        if head["format"] != FORMAT or not isinstance(head["identity"], dict):
            raise ValueError("it is another file")
        if head["version"] != VERSION:
            raise ValueError(f"it has version {head['version']!r}, and this tinynet reads {VERSION}; upgrade tinynet")
        unknown = set(head) - {"format", "version", "sha256", "identity"}
        if unknown:
            raise ValueError(f"it has {sorted(unknown)}, which no sweep has; it is damaged")
        identity: Identity = head["identity"]
        if "sha256" in head and head["sha256"] != _digest(identity):
            raise ValueError("its checksum is wrong; it is damaged, or was edited")
        _check(identity)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelFileError(f"{name!r} does not describe a sweep: {error}.") from error
    return identity


def _digest(identity: Identity) -> str:
    """Return the checksum of what JSON tells, however it is laid out."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _check(identity: Identity) -> None:
    """Raise ValueError, KeyError, TypeError or AttributeError if its parts do not fit each other."""
    settings, groups = identity["settings"], identity["groups"]
    if not isinstance(settings, list) or not settings or not all(isinstance(one, dict) for one in settings):
        raise ValueError("its settings are no list of tables")
    seeds = [whole("a seed", seed, at_least=0) for seed in identity["seeds"]]
    if len(set(seeds)) < len(seeds) or not seeds:
        raise ValueError(f"its seeds are {seeds}; expected at least one, all different")
    runs = sorted(whole("a run", run, at_least=0) for group in groups for run in group)
    if runs != list(range(len(settings) * len(seeds))):
        raise ValueError(f"its groups are not of the runs of {len(settings)} settings and {len(seeds)} seeds")
