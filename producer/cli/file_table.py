"""What became of the files of a folder, as a table."""

from __future__ import annotations

from typing import Any


def print_files(sent: list[dict[str, Any]], others: list[dict[str, Any]]) -> None:
    """A line for each file, and for what in the folder was not sent."""
    from store.cli.render.elements import Kind, put, table  # slow to import

    folder = shared_folder([each["file"] for each in (*sent, *others)])

    def name_of(each: dict[str, Any]) -> str:
        return str(each["file"].removeprefix(folder))

    columns: dict[str, Kind] = {
        "file": "text",
        "status": "fixed",
        "records": "number",
        "batches": "number",
        "known": "number",
        "why": "text",
    }
    rows: list[tuple[Any, ...]] = [
        (
            name_of(each),
            each["status"],
            each["records"],
            each["batches"],
            each["known_batches"],
            (each["error"] or "").removeprefix(f"{each['file']}: "),
        )
        for each in sent
    ]
    rows += [(name_of(each), "no data file", "", "", "", each["why"]) for each in others]
    put(table(f"Files of {folder}" if folder else "Files", columns, rows))


def shared_folder(files: list[str]) -> str:
    """The folder that all of them are in, with its `/` at the end; empty where there is none."""
    folders = {each[: each.rfind("/") + 1] for each in files}
    return folders.pop() if len(folders) == 1 else ""
