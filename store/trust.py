"""Whether a folder or a file belongs to this user alone, or to root: others may have put anything into it.

The home and the database are data that is believed, the configuration and the user's modules are code that is run.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path

from store.errors import NotTrusted

SIDE_FILES = ("-wal", "-shm", "-journal")  # SQLite reads them as parts of the database


def reason_to_distrust(found: os.stat_result) -> str | None:
    """Who else may have written this; None where only this user and root can have."""
    mode = f"mode {stat.S_IMODE(found.st_mode):04o}"
    if found.st_uid not in (os.geteuid(), 0):
        return f"it belongs to {_user(found.st_uid)}"
    if found.st_mode & stat.S_IWOTH:
        return f"everybody may write it ({mode})"
    if found.st_mode & stat.S_IWGRP and not _is_own_group(found):
        return f"its group may write it ({mode})"
    return None


def check_folder(folder: Path, *, shared: bool = False) -> None:
    """Raises NotTrusted for a folder, if there is one, to which others could add files.

    A `shared` one may be a link, or a folder as /tmp where everybody may add files, but nobody change another's.
    """
    try:
        found = folder.stat() if shared else folder.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return  # who makes it makes it private, or fails
    if stat.S_ISLNK(found.st_mode):
        raise NotTrusted(f"{folder} is a link, which is not followed: give the path of the folder itself")
    if not stat.S_ISDIR(found.st_mode) or (shared and found.st_mode & stat.S_ISVTX):
        return
    if why := reason_to_distrust(found):
        raise NotTrusted(
            f"the folder {folder} is not this user's alone: {why}. See what is in it; then `chmod go-w` it, move it "
            "away, run as its owner, or name another folder"
        )


def check_database(path: Path) -> None:
    """Raises NotTrusted for a database, if there is one, that others could have written."""
    check_folder(path.parent, shared=True)
    for file in (path, *(path.with_name(path.name + suffix) for suffix in SIDE_FILES)):
        try:
            found = file.lstat()
        except (FileNotFoundError, NotADirectoryError):  # nothing is there to distrust
            continue
        if stat.S_ISLNK(found.st_mode):
            raise NotTrusted(
                f"the database {file} is a link, which is not followed: set database_url to the file itself"
            )
        if why := reason_to_distrust(found):
            raise NotTrusted(
                f"the database {file} is not this user's alone: {why}. `store check` shows whether its records were "
                "changed; then `chmod go-w` it, run as its owner, or set database_url to another"
            )


def read_code(path: Path) -> bytes:
    """The content of a file that is run, or decides what is run. Raises NotTrusted, OSError.

    What is checked is the open file, so that it cannot be exchanged between the check and the reading.
    """
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode) and found.st_uid not in (os.geteuid(), 0):
        raise NotTrusted(f"{path} is a link of {_user(found.st_uid)}, and what it leads to is run: remove it")
    with path.open("rb") as file:
        # What is mounted to be read only, as a container's configuration, was put there by whoever may mount.
        if not os.fstatvfs(file.fileno()).f_flag & os.ST_RDONLY and (
            why := reason_to_distrust(os.fstat(file.fileno()))
        ):
            raise NotTrusted(
                f"{path} is run as code and is not this user's alone: {why}. Read it; then `chmod go-w` and `chown` "
                "it, or run as its owner"
            )
        return file.read()


def _user(number: int) -> str:
    try:
        return f"the user {pwd.getpwuid(number).pw_name}"
    except KeyError:
        return f"user {number}"


def _is_own_group(found: os.stat_result) -> bool:
    """Whether the owner is the only member of the group, as where each user has a group of the same name."""
    try:
        owner, group = pwd.getpwuid(found.st_uid), grp.getgrgid(found.st_gid)
    except KeyError:  # who is in the group is not known
        return False
    return group.gr_name == owner.pw_name and set(group.gr_mem) <= {owner.pw_name}
