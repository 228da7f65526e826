"""What a store keeps and what it promises. Journals, leases, the inbox, the index of runs, sessions.

The promises, for whoever writes a store:

- ``append`` is atomic for each member of a batch and fenced by (run, expected seq, epoch of the tree's root): a member
  whose epoch is not the root's, whose root is released, or whose first seq isn't the next one, gets RunConflict and
  leaves nothing behind. A member whose facts are all there already with this writer's nonce is a success (the commit's
  answer was lost): try again with the same member. What a member consumes from the inbox, opens, closes and writes to
  a session becomes visible with its facts or not at all. A child's first member makes its index row, from ``index`` or
  else from its ``Started``.
- One lease a tree of runs, kept in the root's index row; it belongs to an owner (a process), whose heartbeat keeps all
  its leases.
- ``signal`` has no condition on seq: any process may send at any time. An answer is accepted only while its request is
  open and no other answer to it waits in the inbox. A letter with the id of one that waits already is that letter.
- A fork shares its prefix: its index row names the run (``base``) and the last fact (``base_seq``) that it goes on
  from, its own facts begin after that, and ``read`` gives both. The facts that a fork needs outlive the run that wrote
  them: ``delete`` hides a run from every other method, frees what no fork needs at once and the rest with the last
  fork. Until then its id isn't given again.
- Run ids are 1 to 512 printable characters, session ids 1 to 512 of any; else UserError.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from flowcore.machine.facts import Fact, Standing

LEASE_SECONDS = 15.0
"""How long an owner's leases outlive its last heartbeat."""


class Owner(NamedTuple):
    """A process that may hold leases. ``id`` is new for each process; ``pid`` and ``born`` let others on the host see
    it's gone."""

    id: str
    host: str
    pid: int
    born: str

    @classmethod
    def this_process(cls) -> Owner:
        """A new owner for this process."""
        pid = os.getpid()
        return cls(f"{pid}-{secrets.token_hex(6)}", *_identity(pid))


@lru_cache(maxsize=1)
def _identity(pid: int) -> tuple[str, int, str]:
    """Host, pid and birth of this process, looked up once: neither changes while it lives (a fork has another pid)."""
    return socket.gethostname(), pid, process_born(pid) or ""


def process_born(pid: int) -> str | None:
    """When a process of this host started, as an opaque text; None if it's gone, "" where the host doesn't tell.

    Linux: field 22 of /proc/PID/stat (proc(5)). Zombies count as gone.
    """
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
    except FileNotFoundError:
        if os.path.isdir("/proc/self"):
            return None
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            return ""
        return ""
    except OSError:
        return ""
    return None if fields[0] == "Z" else fields[19]


def is_gone(host: str, pid: int, born: str) -> bool:
    """Whether an owner's process is known to be gone: only ever true for processes of this host."""
    if host != socket.gethostname() or type(pid) is not int:
        return False
    now = process_born(pid)
    return now is None or bool(born and now and now != born)


@dataclass(slots=True)
class Claim:
    """A lease. ``epoch``: its number, in every append. ``head``: seq of the root's last fact. ``nonce``: this writer's
    mark in the rows that it writes."""

    epoch: int
    head: int
    nonce: str


@dataclass(slots=True)
class OpenRequest:
    """A question that a run of the tree waits for. ``run`` is the run that asked, ``root`` its tree."""

    root: str
    run: str
    key: str
    kind: str
    data: Any
    schema: dict[str, Any] | None
    node: str
    opened: float


@dataclass(slots=True)
class Letter:
    """Something sent to a run and not taken in yet. ``kind``: ``answer``, ``cancel``, ``stop``, ``input``."""

    run: str
    id: str
    kind: str
    key: str | None = None
    value: Any = None
    at: float = 0.0


@dataclass(slots=True)
class IndexRow:
    """What can be listed of a run without reading its journal. Times are seconds since the epoch.

    ``node``, ``updated``: as of the last index row written, and for a running run as of its last transition and fact.
    ``turns``, ``tokens``: as of the last index row. ``due``: when it has something to do by itself (a retry, a
    deadline).
    Filled in by the store, whatever was written: ``owner``, the id of the living owner that holds its tree, or None;
    ``waiting``, how many requests are open in it and its descendants. ``root``, ``parent``, ``created``, ``base`` and
    ``base_seq`` stay what they were when the run began.
    ``base``, ``base_seq``: the run that a fork shares its facts with, and the seq of the last one shared.
    """

    run: str
    root: str
    parent: str | None
    graph: str
    fingerprint: str
    standing: Standing
    node: str
    created: float
    updated: float
    due: float | None = None
    turns: int = 0
    tokens: int = 0
    error: str | None = None
    label: str = ""
    owner: str | None = None
    waiting: int = 0
    base: str | None = None
    base_seq: int | None = None


@dataclass(slots=True)
class SessionWrite:
    """Items that a fact adds to a session: kept under (session, run, seq, i)."""

    session: str
    seq: int
    items: list[Any]


@dataclass(slots=True)
class Append:
    """One run's member of a batch: ``facts`` with rising seq from ``facts[0].seq`` on, and what becomes true with them.

    ``index``: the run's new index row, if it changed. ``opened``: requests that open. ``closed``: keys of requests
    that close.
    ``consumed``: ids of letters taken in. ``writes``: what goes to sessions.
    """

    run: str
    root: str
    facts: Sequence[Fact]
    index: IndexRow | None = None
    opened: Sequence[OpenRequest] = ()
    closed: Sequence[str] = ()
    consumed: Sequence[str] = ()
    writes: Sequence[SessionWrite] = ()


@dataclass(slots=True)
class Page:
    """One page of runs and where the next begins (None: this was the last)."""

    runs: list[IndexRow] = field(default_factory=list)
    after: str | None = None


class SessionItem(NamedTuple):
    """An item of a session and its position (rising, not dense)."""

    position: int
    item: Any


class Store(Protocol):
    """Where runs live. See the module's text for what each store promises. All methods raise StoreError on I/O
    trouble."""

    inline: bool
    """An append normally doesn't suspend: its cost isn't worth a thread or a task (``append_now``). A shared store may
    still suspend in one, instead of blocking the loop, until its file is open and while another process writes."""
    shared: bool
    """Other processes can reach it: leases need a heartbeat and the inbox has to be watched."""

    async def admit(self, member: Append, owner: Owner, below: Sequence[Append] = ()) -> Claim:
        """Make a new root run, held by ``owner``, and with it the children ``below``. Raises RunExists.

        Where ``member.index`` names a ``base`` the run is a fork: its facts follow ``base_seq``. Raises RunNotFound
        where there's no such run, RunConflict where it isn't that long.
        """

    async def claim(self, run: str, owner: Owner) -> Claim:
        """Take the lease of a root run.

        Raises RunNotFound; RunConflict while somebody alive (this owner too) holds it; UserError for a child.
        """

    async def append(self, batch: Sequence[Append], claim: Claim) -> list[Exception | None]:
        """Write a batch of one tree; one answer a member: None, or why it was refused.

        RunConflict, as told above; StoreError where a value can't be encoded. Raises StoreError when nothing was
        written, or when nobody knows: try again with the same batch.
        """

    def append_now(self, batch: Sequence[Append], claim: Claim) -> list[Exception | None] | None:
        """``append`` without suspending, for inline stores; None: the store is busy, nothing was written, use
        ``append``."""

    async def release(self, run: str, claim: Claim, known: int = 0) -> bool:
        """Give the lease of a root run back, unless more than ``known`` letters wait for its tree; whether it was
        given back. Raises RunConflict if it isn't held under this claim any more."""

    async def read(self, run: str, after: int = -1) -> list[Fact]:
        """The facts with a seq above ``after``, in order. Raises RunNotFound, StoreError when the journal is
        damaged."""

    async def signal(self, letter: Letter) -> bool:
        """Put a letter into the inbox of its run's tree. False: an answer to a request that isn't open, or to which
        an answer waits already. Raises RunNotFound."""

    async def delete(self, run: str) -> None:
        """Remove a root run and its whole tree; facts that forks share stay for them alone. What it wrote to sessions
        stays. Raises RunNotFound; RunConflict while somebody alive holds it; UserError for a child."""

    async def prune(
        self, older_than: float | datetime, status: str | Collection[str] = "done", *, dry_run: bool = False
    ) -> list[str]:
        """``delete`` the root runs of this standing (or of one of these) that nobody holds and whose last index row
        is older than so many seconds, or than a moment (a naive one is local time). Returns their ids, sorted.

        Done in small transactions: runs that move meanwhile go on. ``dry_run``: nothing is deleted.
        """

    async def inbox(self, root: str) -> list[Letter]:
        """The letters that wait for a tree, oldest first."""

    def beat(self, owner: Owner) -> None:
        """Keep the owner's leases for another LEASE_SECONDS. It blocks, and is called on a thread of its own that has
        no event loop: a process that is busy lives, too, and its runs mustn't be started twice."""

    async def waiting(self, owner: Owner) -> list[str]:
        """Root runs held by this owner for which letters wait."""

    async def get(self, run: str) -> IndexRow:
        """One run's index row. Raises RunNotFound."""

    async def runs(
        self,
        *,
        standing: str | None = None,
        root: str | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Page:
        """Root runs, the latest first, or with ``root`` the runs of one tree, the oldest first. Reads no journal.

        ``after`` is the ``after`` of an earlier page.
        """

    async def find(self, prefix: str, *, root: str | None = None, limit: int = 20) -> list[IndexRow]:
        """Root runs, or with ``root`` the runs of one tree, whose ids begin so, in the order of their ids (by code
        point). Raises UserError for what no run id begins with."""

    async def requests(self, root: str | None = None, limit: int = 100) -> list[OpenRequest]:
        """Open requests of one tree, or of all, oldest first."""

    async def abandoned(self, *, limit: int = 50, after: str | None = None) -> Page:
        """Root runs that should move and that nobody moves, the oldest first: they stand ``running``, or ``waiting``
        under a lease that nobody gave back, and their owner's process is gone or its lease has ended. Reads no
        journal. ``after`` is the ``after`` of an earlier page."""

    async def due(self, now: float, limit: int = 100) -> list[str]:
        """Root runs that nobody holds and that have something to do by ``now``.

        Their due time has passed; or they stand ``running`` without one (their owner died); or, while they stand
        running or waiting, more letters wait than were known when they were released.
        """

    async def session_items(
        self, session: str, *, upto: int | None = None, limit: int | None = None
    ) -> list[SessionItem]:
        """A session's items, oldest first: those at or before ``upto``; with ``limit`` only the latest so many."""

    async def session_write(self, session: str, items: Sequence[Any]) -> None:
        """Add items from outside of a run."""

    async def session_pop(self, session: str) -> Any | None:
        """Remove and return the latest item; None if there's none."""

    async def session_clear(self, session: str) -> None:
        """Remove all items."""

    async def close(self) -> None:
        """Give back connections. The runs stay."""
