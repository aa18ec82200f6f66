"""The files of a folder, in the order of their names; and what in it is no data file, with the reason."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from store.errors import InputError
from store.text import shown_path

# Names that programs give to files that are not whole yet.
UNFINISHED = (".part", ".partial", ".tmp", ".temp", ".crdownload", ".download", ".filepart", ".swp", "~")

Refusal = Callable[[str], str | None]  # why a path is no data file, by its name; None: it is one


@dataclass(frozen=True)
class Entry:
    """One thing in a folder."""

    path: str
    status: os.stat_result | None  # None: it is gone again, or a link to nothing
    refused: str | None  # why it is no data file

    @property
    def is_unfinished(self) -> bool:
        """Whether its name says that a program still writes it."""
        name = Path(self.path).name
        return name.startswith(".") or name.lower().endswith(UNFINISHED)


def entries(folder: str, refusal: Refusal, pattern: str = "*") -> Iterator[Entry]:
    """What is in a folder, but not in the folders of it. Raises InputError for a folder that cannot be read."""
    try:
        found = [path for path in Path(folder).iterdir() if fnmatchcase(path.name, pattern)]
    except OSError as error:
        raise InputError(
            f"{shown_path(folder)} cannot be read: {error.strerror}; check the folder and its permissions"
        ) from error
    for path in map(str, sorted(found, key=lambda path: os.fsencode(path.name))):
        entry = Entry(path, _status(path), None)
        yield Entry(path, entry.status, _refused(entry, refusal))


def _status(path: str) -> os.stat_result | None:
    try:
        return Path(path).stat()
    except OSError:  # reported as a broken link: it may be gone, and that is no fault
        return None


def _refused(entry: Entry, refusal: Refusal) -> str | None:
    if entry.is_unfinished:
        return "its name is that of a hidden or an unfinished file"
    if entry.status is None:
        return "a link to nothing"
    if stat.S_ISDIR(entry.status.st_mode):
        return "a folder: give it by itself"
    if not stat.S_ISREG(entry.status.st_mode):
        return "no regular file"
    return refusal(entry.path)


@dataclass(frozen=True)
class Expanded:
    """The inputs of a command, with the files of its folders in their stead."""

    files: list[str]  # and the folders that have faults
    others: list[Entry]  # what is in the folders beside
    faults: dict[str, str]  # folder -> why nothing of it can be sent
    folders: list[str]  # whose files stand in `files`

    @classmethod
    def of(cls, given: list[str], refusal: Refusal) -> Expanded:
        """What the paths of a command stand for."""
        made = cls([], [], {}, [])
        for path in given:
            if Path(path).is_dir():
                made._add_folder(path, refusal)
            else:
                made.files.append(path)
        return made

    def _add_folder(self, path: str, refusal: Refusal) -> None:
        try:
            found = list(entries(path, refusal))
        except InputError as error:
            self.faults[path] = str(error)
            self.files.append(path)
            return
        data = [each.path for each in found if each.refused is None]
        if not data:
            beside = f"; {shown_path(found[0].path)} is none: {found[0].refused}" if found else ""
            self.faults[path] = f"{shown_path(path)}: no data file is in this folder{beside}"
        else:
            self.folders.append(path)
        self.files.extend(data or [path])
        self.others.extend(each for each in found if each.refused is not None)
