"""The options of everything that listens: `worker page`, `worker metrics` and `worker up --page`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Host = Annotated[str, typer.Option(help="The address to listen at.")]
Port = Annotated[int, typer.Option(help="The port.", min=0, max=65535)]
Names = Annotated[
    list[str] | None,
    typer.Option("--name", metavar="HOST[:PORT]", help="A name by which others reach it; may be repeated."),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(help="A file with the token that others give.", show_default="SLUICE_PAGE_TOKEN"),
]
Certificate = Annotated[
    Path | None, typer.Option("--tls-certificate", help="Serve https with this certificate.")
]
Key = Annotated[Path | None, typer.Option("--tls-key", help="The key of the certificate.")]
BehindProxy = Annotated[
    bool, typer.Option("--behind-proxy", help="A proxy ends TLS, and keeps the header Host.")
]
AllowActions = Annotated[
    bool, typer.Option("--allow-actions", help="Let those who log in replay, park, discard and undo.")
]
ByHeader = Annotated[
    str | None, typer.Option(metavar="HEADER", help="The proxy's header that names who acts.")
]
