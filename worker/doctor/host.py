"""This host: room on its disks, and to whom the files belong."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

from store import trust
from store.errors import NotTrusted
from worker.doctor.findings import Finding, Limits, failed, ok, warning
from worker.doctor.redis_info import megabytes

OTHERS = 0o077


def disk(folders: dict[str, Path], limits: Limits) -> Finding:
    """The folder with the least room, of the database, the home and the private server."""
    check = "free disk"
    free = {name: shutil.disk_usage(_there(folder)).free for name, folder in folders.items()}
    least = min(free, key=lambda name: free[name])
    described = f"{megabytes(free[least])} free for {least}, {_there(folders[least])}"
    if free[least] < limits.free_failed:
        return failed(
            check,
            f"{described}; less than {megabytes(limits.free_failed)}",
            "free space, or move the store to a larger disk",
        )
    if free[least] < limits.free_warning:
        return warning(
            check,
            f"{described}; less than {megabytes(limits.free_warning)}",
            "free space before it is full: workers would wait",
        )
    return ok(check, described)


def _there(folder: Path) -> Path:
    """The folder, or what is there of it."""
    return next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())


def permissions(home: Path, database_file: Path | None) -> Finding:
    """Whether home and database are this user's alone."""
    check = "permissions"
    try:
        trust.check_folder(home.absolute())
        if database_file:
            trust.check_database(database_file)
    except NotTrusted as error:
        what, _, remedy = str(error).partition(". ")
        return failed(check, what, remedy or "name another, or run as its owner")
    paths = [home.absolute(), *([database_file] if database_file else [])]
    there = [path for path in paths if path.exists()]
    open_to_others = [path for path in there if stat.S_IMODE(path.stat().st_mode) & OTHERS]
    if open_to_others:
        named = ", ".join(map(str, open_to_others))
        return warning(check, f"others may read {named}", f"chmod -R go= {home}, if nobody else should")
    return ok(check, "home and database are readable and writable by this user alone")
