"""Hosts on one machine: network namespaces, each with a cable to a switch that can be pulled."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

CLONE_NEWNET = 0x40000000  # linux/sched.h
SERVER = "10.77.0.1"  # the address of the host of the servers; the others follow

T = TypeVar("T")


class NotAllowed(Exception):
    """This machine lets nobody make network namespaces, or has no `ip`."""


class Network:
    """A switch with a host of servers, and hosts beside it."""

    def __init__(self) -> None:
        self._hub = f"sluice-{os.getpid()}-hub"
        self._ports: dict[str, str] = {}  # host -> its socket of the switch

    def make(self) -> None:
        """Raises NotAllowed."""
        try:
            _ip("netns", "add", self._hub)
        except subprocess.CalledProcessError as error:
            raise NotAllowed(f"network namespaces are not allowed here: {error.stderr.strip()}") from error
        _ip("-n", self._hub, "link", "set", "lo", "up")
        _ip("-n", self._hub, "link", "add", "switch", "type", "bridge")
        _ip("-n", self._hub, "addr", "add", f"{SERVER}/24", "dev", "switch")
        _ip("-n", self._hub, "link", "set", "switch", "up")

    def add(self, host: str) -> None:
        """A host with a cable to the switch."""
        name, port = self._name(host), f"port{len(self._ports)}"
        _ip("netns", "add", name)
        self._ports[host] = port
        _ip("link", "add", "eth0", "netns", name, "type", "veth", "peer", "name", port, "netns", self._hub)
        _ip("-n", self._hub, "link", "set", port, "master", "switch", "up")
        _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", name, "addr", "add", f"10.77.0.{1 + len(self._ports)}/24", "dev", "eth0")
        _ip("-n", name, "link", "set", "eth0", "up")

    def cut(self, host: str) -> None:
        """Pulls its cable: what is sent is lost, and nobody is told."""
        _ip("-n", self._hub, "link", "set", self._ports[host], "down")

    def mend(self, host: str) -> None:
        """Puts it back."""
        _ip("-n", self._hub, "link", "set", self._ports[host], "up")

    def on(self, host: str, do: Callable[[], T]) -> T:
        """What `do` returns, done on a host; processes that it starts stay there. "" is the host of the servers."""
        name = self._name(host) if host else self._hub

        def enter() -> T:
            with Path("/run/netns", name).open() as namespace:
                if _libc.setns(namespace.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), f"cannot enter {name}")
            return do()

        with ThreadPoolExecutor(1) as pool:  # a thread has a namespace of its own
            return pool.submit(enter).result()

    def remove(self) -> None:
        for name in [self._hub, *map(self._name, self._ports)]:
            with suppress(subprocess.CalledProcessError, NotAllowed):  # not made yet
                _ip("netns", "del", name)

    def _name(self, host: str) -> str:
        return f"sluice-{os.getpid()}-{host}"


_libc = ctypes.CDLL(None, use_errno=True)


def _ip(*words: str) -> None:
    program = shutil.which("ip")
    if program is None:
        raise NotAllowed("there is no `ip` (iproute2)")
    subprocess.run([program, *words], check=True, capture_output=True, text=True)


@contextmanager
def network(*hosts: str) -> Iterator[Network]:
    """A network that is removed at the end. Raises NotAllowed."""
    made = Network()
    try:
        made.make()
        for host in hosts:
            made.add(host)
        yield made
    finally:
        made.remove()
