"""A store in this process's memory: it keeps the facts themselves, or with ``keep_bytes`` what a file would hold."""

from __future__ import annotations

import asyncio
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from flowcore.errors import FlowcoreError
from flowcore.graph.values import copy_json, dumps
from flowcore.machine.facts import Fact, Transition
from flowcore.stores import checks
from flowcore.stores.base import (
    Append,
    Claim,
    IndexRow,
    Letter,
    OpenRequest,
    Owner,
    Page,
    SessionItem,
    is_gone,
)
from flowcore.stores.sealing import (
    Bound,
    Sealing,
    decode_fact,
    encode_fact,
    fact_place,
    item_place,
    letter_place,
    named,
    request_place,
    sealed,
    value,
)

if TYPE_CHECKING:
    from flowcore.stores.rotation import Renewal


class _Tree:
    """What belongs to a root run and its descendants together: lease, inbox, open requests. ``runs``: their ids, the
    root's first."""

    __slots__ = ("epoch", "known", "letters", "owner", "requests", "root", "runs")

    def __init__(self, root: str) -> None:
        self.root = root
        self.owner: Owner | None = None
        self.epoch = 0
        self.known = 0
        self.letters: tuple[Letter, ...] = ()
        self.requests: dict[tuple[str, str], OpenRequest] = {}
        self.runs: list[str] = []

    def holder(self) -> Owner | None:
        """Who holds the lease and is alive."""
        owner = self.owner
        return None if owner is None or is_gone(owner.host, owner.pid, owner.born) else owner


class _Journal:
    """The facts of a run (or their rows) and its index row. ``marks``: from which seq on which writer wrote.

    A fork's own facts begin with ``first``; those before are ``base``'s. ``forks``: who shares this one's.
    """

    __slots__ = ("base", "facts", "first", "forks", "index", "marks", "nonce", "tree")

    def __init__(self, tree: _Tree, index: IndexRow, base: _Journal | None = None) -> None:
        self.tree = tree
        self.index = index
        self.base = base
        self.first = 0 if index.base_seq is None else index.base_seq + 1
        self.forks: tuple[_Journal, ...] = ()
        self.facts: list[Any] = []
        self.nonce = ""
        self.marks: list[tuple[int, str]] = []

    def since(self, after: int) -> list[tuple[str, list[Any]]]:
        """The facts above ``after``, shared ones too, and which run wrote them."""
        found = [(self.index.run, self.facts[max(after + 1 - self.first, 0) :])]
        end, one = self.first, self.base
        while one is not None and after + 1 < end:
            found.append((one.index.run, one.facts[max(after + 1 - one.first, 0) : max(end - one.first, 0)]))
            end, one = min(end, one.first), one.base
        return found[::-1]

    def trim(self) -> bool:
        """Keep only what forks need; whether what it shares itself became less or nothing."""
        end = max((fork.first for fork in self.forks), default=0)
        less = end < self.first or not self.forks
        del self.facts[max(end - self.first, 0) :]
        self.first = min(self.first, end)
        return less

    def wrote(self, nonce: str, first: int, last: int) -> bool:
        """Whether all the facts from ``first`` to ``last`` are there and are this writer's."""
        if last >= self.first + len(self.facts) or first < self.first:
            return False
        at = bisect_right(self.marks, first, key=lambda mark: mark[0])
        return self.marks[at - 1][1] == nonce and (at == len(self.marks) or last < self.marks[at][0])


class MemoryStore:
    """Runs in memory: they die with the store. Costs a run a microsecond or two a fact.

    ``keep_bytes``: keep every value as the bytes that a file would hold and decode it on each read, for tests of what
    survives; see ``copy``. Leases hold between the owners of this process and don't expire.
    """

    inline = True
    shared = False

    def __init__(self, *, keep_bytes: bool = False) -> None:
        self.keep_bytes = keep_bytes
        self.sealing: Sealing | None = None
        self._pack: Callable[[Any], Any] = dumps if keep_bytes else _same
        self._lock = threading.Lock()
        self._journals: dict[str, _Journal] = {}
        self._trees: dict[str, _Tree] = {}
        self._kept: dict[str, list[_Journal]] = {}
        self._lettered: dict[str, _Tree] = {}
        self._sessions: dict[str, list[tuple[int, Any]]] = {}
        self._position = 0

    def copy(self) -> MemoryStore:
        """An independent store with the same runs, letters and sessions, as after a crash: nobody holds a lease."""
        other = MemoryStore(keep_bytes=self.keep_bytes)
        other.sealing = self.sealing
        with self._lock:
            copies: dict[_Journal, _Journal] = {}
            for tree in self._trees.values():
                twin = _Tree(tree.root)
                twin.epoch = tree.epoch
                twin.known = tree.known
                twin.letters = tree.letters
                twin.requests = dict(tree.requests)
                other._trees[tree.root] = twin
                twin.runs = list(tree.runs)
                other._journals.update((run, _copy(self._journals[run], twin, copies)) for run in tree.runs)
            for root, kept in self._kept.items():
                twin = _Tree(root)
                other._kept[root] = [_copy(journal, twin, copies) for journal in kept]
            for old, new in copies.items():
                new.base = None if old.base is None else copies[old.base]
                new.forks = tuple(copies[fork] for fork in old.forks)
            other._lettered = {root: other._trees[root] for root in self._lettered}
            other._sessions = {session: list(items) for session, items in self._sessions.items()}
            other._position = self._position
        return other

    async def reseal(self, renewal: Renewal) -> int:
        """Put what ``renewal`` gives in the place of every sealed record; how many. See ``EncryptedStore.rotate``."""
        with self._lock:
            journals = [*self._journals.values(), *(one for some in self._kept.values() for one in some)]
            trees, sessions = list(self._trees.values()), list(self._sessions)
        changed = 0
        for journal in journals:
            with self._lock:
                changed += self._reseal_journal(journal, renewal)
            await asyncio.sleep(0)
        for tree in trees:
            with self._lock:
                changed += self._reseal_mail(tree, renewal)
        for session in sessions:
            with self._lock:
                items = self._sessions.get(session, [])
                for i, (position, item) in enumerate(items):
                    new = _renewed(renewal, item, item_place(session, position))
                    if new is not None:
                        items[i] = (position, new)
                        changed += 1
            await asyncio.sleep(0)
        return changed

    def _reseal_journal(self, journal: _Journal, renewal: Renewal) -> int:
        changed = 0
        for i, row in enumerate(journal.facts):
            payload = _renewed(renewal, row.payload, fact_place(journal.index.run, row))
            if payload is not None:
                journal.facts[i] = row._replace(payload=payload)
                changed += 1
        index = replace(journal.index)
        if renewal.index(index):
            journal.index = index
            changed += 1
        return changed

    def _reseal_mail(self, tree: _Tree, renewal: Renewal) -> int:
        changed = 0
        letters = []
        for letter in tree.letters:
            sent = _renewed(renewal, letter.value, _letter_place(letter))
            letters.append(letter if sent is None else replace(letter, value=sent))
            changed += sent is not None
        tree.letters = tuple(letters)
        for key, asked in tree.requests.items():
            new = self._request(asked, lambda kept, place: _renewed(renewal, kept, place) or kept)
            if new != asked:
                tree.requests[key] = new
                changed += 1
        return changed

    # Leases

    async def admit(self, member: Append, owner: Owner, below: Sequence[Append] = ()) -> Claim:
        """Make a new root run, held by ``owner``, with the children ``below``. Raises RunExists, for a fork
        RunNotFound."""
        for one in (member, *below):
            checks.check_member(one)
        with self._lock:
            if member.run in self._journals:
                raise checks.exists(member.run)
            if member.run in self._kept:
                raise checks.kept(member.run)
            tree = _Tree(member.run)
            claim = Claim(1, member.facts[-1].seq, token_hex(6))
            journals = [self._new(tree, one, claim) for one in (member, *below)]
            tree.owner, tree.epoch = owner, 1
            for journal in journals:
                self._begin(journal, journal.index)
        return claim

    def _new(self, tree: _Tree, member: Append, claim: Claim) -> _Journal:
        """A run with its first facts, not listed yet."""
        index = checks.first_index(member)
        base = self._base(member.run, index) if index.base is not None else None
        journal = _Journal(tree, index, base)
        checks.first_seq(member, index)
        self._write(journal, member, claim.nonce)
        return journal

    def _base(self, run: str, index: IndexRow) -> _Journal:
        base, seq = self._journal(index.base or ""), index.base_seq or 0
        head = base.first + len(base.facts) - 1
        if not 0 <= seq <= head:
            raise checks.no_base(run, base.index.run, seq, head)
        return base

    async def claim(self, run: str, owner: Owner) -> Claim:
        """Take the lease of a root run. Raises RunNotFound, RunConflict while it's held, UserError for a child."""
        with self._lock:
            tree = self._journal(run).tree
            if tree.root != run:
                raise checks.not_root(run, tree.root)
            holder = tree.holder()
            if holder is not None:
                raise checks.held(run, holder.host, holder.pid, holder.id == owner.id)
            tree.owner = owner
            tree.epoch += 1
            journal = self._journals[run]
            return Claim(tree.epoch, journal.first + len(journal.facts) - 1, token_hex(6))

    async def release(self, run: str, claim: Claim, known: int = 0) -> bool:
        """Give the lease of a root run back, unless more than ``known`` letters wait; whether it was given back."""
        with self._lock:
            tree = self._journal(run).tree
            if tree.epoch != claim.epoch or tree.owner is None or tree.root != run:
                raise checks.released(run)
            if len(tree.letters) > known:
                return False
            tree.owner, tree.known = None, len(tree.letters)
            return True

    def beat(self, owner: Owner) -> None:
        """Nothing: the owner's process is this one."""

    # Journals

    async def append(self, batch: Sequence[Append], claim: Claim) -> list[Exception | None]:
        """Write a batch of one tree; one answer a member: None, or why it was refused."""
        return self.append_now(batch, claim)

    def append_now(self, batch: Sequence[Append], claim: Claim) -> list[Exception | None]:
        """``append`` without suspending: this store is never busy."""
        with self._lock:
            if len(batch) == 1 and self._grown(batch[0], claim):
                return [None]
            return [self._append(member, claim) for member in batch]

    def _grown(self, member: Append, claim: Claim) -> bool:
        """Whether it was the usual append, a fact and nothing else of the writer that wrote last; it's done then."""
        facts = member.facts
        if len(facts) != 1 or member.index is not None or member.writes or member.consumed or self.keep_bytes:
            return False
        journal = self._journals.get(member.run)
        if journal is None or journal.nonce != claim.nonce or member.opened or member.closed:
            return False
        tree = journal.tree
        if tree.epoch != claim.epoch or tree.owner is None or tree.root != member.root:
            return False
        if facts[0].seq != journal.first + len(journal.facts):
            return False
        journal.facts.append(facts[0])
        return True

    def _append(self, member: Append, claim: Claim) -> Exception | None:
        facts = member.facts
        journal = self._journals.get(member.run)
        if journal is None or not facts:
            return self._append_first(member, claim)
        tree = journal.tree
        if (
            tree.epoch != claim.epoch
            or tree.owner is None
            or tree.root != member.root
            or facts[0].seq != journal.first + len(journal.facts)
        ):
            if journal.wrote(claim.nonce, facts[0].seq, facts[-1].seq):
                return None
            if tree.epoch == claim.epoch and tree.owner is not None and tree.root == member.root:
                return checks.wrong_seq(member, journal.first + len(journal.facts))
            return checks.lost(member, claim.epoch, tree.owner is not None, tree.epoch)
        try:
            self._write(journal, member, claim.nonce)
        except FlowcoreError as error:
            return error
        return None

    def _append_first(self, member: Append, claim: Claim) -> Exception | None:
        """A child's first facts: they come with the child itself."""
        try:
            checks.check_member(member)
            tree = self._trees.get(member.root)
            if tree is None or tree.epoch != claim.epoch or tree.owner is None:
                held = tree is not None and tree.owner is not None
                return checks.lost(member, claim.epoch, held, tree.epoch if tree else None)
            if member.facts[0].seq != 0:
                return checks.wrong_seq(member, 0)
            index = checks.first_index(member)
            journal = _Journal(tree, index)
            self._write(journal, member, claim.nonce)
            self._begin(journal, index)
        except FlowcoreError as error:
            return error
        return None

    def _begin(self, journal: _Journal, index: IndexRow) -> None:
        tree = journal.tree
        journal.index = _row_kept(index, root=tree.root, owner=None, waiting=0)
        if journal.base is not None:
            journal.base.forks += (journal,)
        self._trees[tree.root] = tree
        tree.runs.append(index.run)
        self._journals[index.run] = journal

    def _write(self, journal: _Journal, member: Append, nonce: str) -> None:
        """What the member brings; all of it is made before any of it is kept."""
        facts: Sequence[Any] = member.facts
        opened = member.opened
        if len(facts) > 1:
            checks.check_member(member)
        if self.keep_bytes:
            facts = [encode_fact(member.run, fact, self.sealing) for fact in facts]
            opened = [self._request(one, self._packed) for one in opened]
        if member.writes:
            self._write_sessions(member)
        if journal.nonce != nonce:
            journal.nonce = nonce
            journal.marks.append((journal.first + len(journal.facts), nonce))
        journal.facts += facts
        index = member.index
        if index is not None:
            old = journal.index
            journal.index = _row_kept(
                index, root=old.root, parent=old.parent, created=old.created, owner=None, waiting=0, base=old.base,
                base_seq=old.base_seq,
            )  # fmt: skip
        if member.closed or opened or member.consumed:
            self._write_mail(journal.tree, member, opened)

    def _write_sessions(self, member: Append) -> None:
        packed = [(write.session, [self._pack(item) for item in write.items]) for write in member.writes]
        for session, _ in packed:
            checks.check_session_id(session)
        for session, items in packed:
            self._extend(session, items)

    def _write_mail(self, tree: _Tree, member: Append, opened: Sequence[OpenRequest]) -> None:
        for key in member.closed:
            tree.requests.pop((member.run, key), None)
        for request in opened:
            tree.requests[request.run, request.key] = request
        if member.consumed:
            tree.letters = tuple(letter for letter in tree.letters if letter.id not in member.consumed)
            if not tree.letters:
                self._lettered.pop(tree.root, None)

    async def read(self, run: str, after: int = -1) -> list[Fact]:
        """The facts with a seq above ``after``, in order. Raises RunNotFound; StoreError for a damaged journal."""
        lines = self._journal(run).since(max(after, -1))
        if self.keep_bytes:
            return [decode_fact(writer, "memory", row, self.sealing) for writer, rows in lines for row in rows]
        return lines[0][1] if len(lines) == 1 else [fact for _, facts in lines for fact in facts]

    def _journal(self, run: str) -> _Journal:
        checks.check_run_id(run)
        try:
            return self._journals[run]
        except KeyError:
            raise checks.not_found(run) from None

    # Deleting

    async def delete(self, run: str) -> None:
        """Remove a root run and its tree; what forks share stays for them. Raises RunNotFound, RunConflict,
        UserError."""
        with self._lock:
            tree = self._journal(run).tree
            if tree.root != run:
                raise checks.not_root_to_delete(run, tree.root)
            holder = tree.holder()
            if holder is not None:
                raise checks.held(run, holder.host, holder.pid, False)
            self._delete(tree)

    def _delete(self, tree: _Tree) -> None:
        del self._trees[tree.root]
        self._lettered.pop(tree.root, None)
        journals = [self._journals.pop(run) for run in tree.runs]
        self._kept[tree.root] = list(journals)
        for journal in journals:
            self._free(journal)

    def _free(self, hidden: _Journal) -> None:
        """Drop what no fork needs of a deleted journal, and then maybe of what it was a fork of."""
        one: _Journal | None = hidden
        while one is not None and self._journals.get(one.index.run) is not one and one.trim():
            base = one.base
            if not one.forks:
                kept = self._kept[one.tree.root]
                kept.remove(one)
                if not kept:
                    del self._kept[one.tree.root]
                if base is not None:
                    base.forks = tuple(fork for fork in base.forks if fork is not one)
            one = base

    async def prune(
        self, older_than: float | datetime, status: str | Collection[str] = "done", *, dry_run: bool = False
    ) -> list[str]:
        """``delete`` root runs of a standing that nobody holds and that are older. Returns their ids."""
        before, standings = checks.check_prune(older_than, status, time.time())
        with self._lock:
            old = [
                tree
                for tree in self._trees.values()
                if self._journals[tree.root].index.standing in standings
                and self._row(self._journals[tree.root]).updated <= before
                and tree.holder() is None
            ]
            for tree in old if not dry_run else ():
                self._delete(tree)
        return sorted(tree.root for tree in old)

    # The inbox

    async def signal(self, letter: Letter) -> bool:
        """Put a letter into the inbox of its run's tree. False: an answer to what isn't open. Raises RunNotFound."""
        packed = self._pack(checks.check_json(letter.value, f"{letter.kind} to run '{letter.run}'"))
        sent = replace(letter, value=self._seal(packed, _letter_place(letter)))
        with self._lock:
            tree = self._journal(letter.run).tree
            if any(one.id == letter.id for one in tree.letters):
                return True
            if letter.kind == "answer" and (
                (letter.run, letter.key) not in tree.requests
                or any(one.kind == "answer" and (one.run, one.key) == (letter.run, letter.key) for one in tree.letters)
            ):
                return False
            tree.letters += (sent,)
            self._lettered[tree.root] = tree
            return True

    async def inbox(self, root: str) -> list[Letter]:
        """The letters that wait for a tree, oldest first."""
        tree = self._trees.get(root)
        if tree is None or not tree.letters:
            return []
        return [replace(one, value=self._unpack(one.value, _letter_place(one))) for one in tree.letters]

    async def waiting(self, owner: Owner) -> list[str]:
        """Root runs held by this owner for which letters wait."""
        with self._lock:
            return [
                root for root, tree in self._lettered.items() if tree.owner is not None and tree.owner.id == owner.id
            ]

    # The index

    async def get(self, run: str) -> IndexRow:
        """One run's index row. Raises RunNotFound."""
        return self._row(self._journal(run))

    def _row(self, journal: _Journal) -> IndexRow:
        index, tree = journal.index, journal.tree
        holder = tree.holder()
        node, updated = index.node, index.updated
        if index.standing == "running":
            node, updated = self._place(journal)
        below = index.run + "/"
        waiting = sum(index.run == tree.root or run == index.run or run.startswith(below) for run, _ in tree.requests)
        return replace(index, node=node, updated=updated, owner=holder.id if holder else None, waiting=waiting)

    def _place(self, journal: _Journal) -> tuple[str, float]:
        """Where a running run stands, and since when."""
        for fact in reversed(journal.facts):
            if fact.kind == "transition" if self.keep_bytes else type(fact) is Transition:
                return fact.to, journal.facts[-1].at
        return journal.index.node, journal.facts[-1].at

    async def runs(
        self,
        *,
        standing: str | None = None,
        root: str | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Page:
        """Root runs, the latest first, or with ``root`` the runs of one tree, the oldest first. Reads no journal."""
        with self._lock:
            journals: Iterable[_Journal]
            if root is None:
                journals = [self._journals[one] for one in self._trees]
            else:
                journals = [self._journals[run] for run in self._trees[root].runs] if root in self._trees else ()
        return self._page([one for one in journals if standing is None or one.index.standing == standing],
                          root is None, limit, after)  # fmt: skip

    def _page(self, journals: list[_Journal], latest: bool, limit: int, after: str | None) -> Page:
        """A page of these runs, the latest or the oldest first."""
        found = sorted(journals, key=_age, reverse=latest)
        if after is not None:
            cursor = checks.read_cursor(after)
            found = [one for one in found if (_age(one) < cursor if latest else _age(one) > cursor)]
        page = found[:limit]
        return Page([self._row(one) for one in page], _cursor(page) if len(found) > len(page) else None)

    async def find(self, prefix: str, *, root: str | None = None, limit: int = 20) -> list[IndexRow]:
        """Root runs, or those of one tree, whose ids begin so, in the order of their ids."""
        checks.check_run_id(prefix)
        with self._lock:
            among = list(self._trees) if root is None else self._trees[root].runs if root in self._trees else ()
            found = sorted(run for run in among if run.startswith(prefix))
            return [self._row(self._journals[run]) for run in found[:limit]]

    async def abandoned(self, *, limit: int = 50, after: str | None = None) -> Page:
        """Root runs that should move and that nobody moves, the oldest first."""
        with self._lock:
            roots = [(tree, self._journals[root]) for root, tree in self._trees.items()]
        left = [one for tree, one in roots if _is_left(tree, one.index.standing)]
        return self._page(left, False, limit, after)

    async def requests(self, root: str | None = None, limit: int = 100) -> list[OpenRequest]:
        """Open requests of one tree, or of all, oldest first."""
        with self._lock:
            trees = list(self._trees.values()) if root is None else [self._trees[root]] if root in self._trees else []
            found = [request for tree in trees for request in tree.requests.values()]
        found.sort(key=lambda request: (request.opened, request.run, request.key))
        return [self._request(request, self._unpack) for request in found[:limit]]

    async def due(self, now: float, limit: int = 100) -> list[str]:
        """Root runs that nobody holds and that have something to do by now."""
        with self._lock:
            trees = list(self._trees.values())
        found = []
        for tree in trees:
            index = self._journals[tree.root].index
            moves = index.standing == "running" or index.standing == "waiting"
            late = index.standing == "running" if index.due is None else index.due <= now
            if (late or (moves and len(tree.letters) > tree.known)) and tree.holder() is None:
                found.append((index.created if index.due is None else index.due, tree.root))
        return [root for _, root in sorted(found)[:limit]]

    # Sessions

    async def session_items(
        self, session: str, *, upto: int | None = None, limit: int | None = None
    ) -> list[SessionItem]:
        """A session's items, oldest first: those at or before ``upto``; with ``limit`` only the latest so many."""
        checks.check_session_id(session)
        items = self._sessions.get(session, [])
        end = len(items) if upto is None else bisect_right(items, upto, key=lambda item: item[0])
        begin = 0 if limit is None else max(0, end - limit)
        return [
            SessionItem(position, self._unpack(item, item_place(session, position)))
            for position, item in items[begin:end]
        ]

    async def session_write(self, session: str, items: Sequence[Any]) -> None:
        """Add items from outside of a run."""
        checks.check_session_id(session)
        packed = [self._pack(checks.check_json(item, f"session '{session}'")) for item in items]
        with self._lock:
            self._extend(session, packed)

    def _extend(self, session: str, items: Sequence[Any]) -> None:
        kept = self._sessions.setdefault(session, [])
        for item in items:
            self._position += 1
            kept.append((self._position, self._seal(item, item_place(session, self._position))))

    async def session_pop(self, session: str) -> Any | None:
        """Remove and return the latest item; None if there's none."""
        checks.check_session_id(session)
        with self._lock:
            items = self._sessions.get(session)
            if not items:
                return None
            position, item = items[-1]
            popped = self._unpack(item, item_place(session, position))
            items.pop()
            return popped

    async def session_clear(self, session: str) -> None:
        """Remove all items."""
        checks.check_session_id(session)
        with self._lock:
            self._sessions.pop(session, None)

    async def close(self) -> None:
        """Nothing: there is no connection."""

    # Values as they're kept

    def _packed(self, one: Any, place: Bound) -> Any:
        return self._seal(self._pack(one), place)

    def _seal(self, packed: Any, place: Bound) -> Any:
        return sealed(packed, place, self.sealing) if self.keep_bytes else packed

    def _unpack(self, kept: Any, place: Bound) -> Any:
        if not self.keep_bytes:
            return copy_json(kept)
        return value(kept, place, self.sealing, f"{named(place)} {place[1:3]} in memory")

    def _request(self, one: OpenRequest, change: Callable[[Any, Bound], Any]) -> OpenRequest:
        names = one.run, one.key, one.kind, one.node, one.opened
        return replace(
            one,
            data=change(one.data, request_place("data", *names)),
            schema=change(one.schema, request_place("schema", *names)),
        )


def _copy(journal: _Journal, tree: _Tree, copies: dict[_Journal, _Journal]) -> _Journal:
    """A journal of another store; its base and forks are still to be told."""
    new = copies[journal] = _Journal(tree, journal.index)
    new.first = journal.first
    new.facts = list(journal.facts)
    new.nonce = journal.nonce
    new.marks = list(journal.marks)
    return new


def _row_kept(row: IndexRow, **told: Any) -> IndexRow:
    """An index row with what the store itself tells of a run; that's mostly what the row has already."""
    for name, one in told.items():
        if getattr(row, name) != one:
            return replace(row, **told)
    return row


def _letter_place(letter: Letter) -> Bound:
    return letter_place(letter.run, letter.id, letter.kind, letter.key, letter.at)


def _renewed(renewal: Renewal, kept: bytes, place: Bound) -> bytes | None:
    return renewal.record(kept, place, f"{named(place)} {place[1:3]} in memory")


def _same(one: Any) -> Any:
    return one


def _is_left(tree: _Tree, standing: str) -> bool:
    """Whether a tree should move and nobody moves it."""
    moves = standing == "running" or (standing == "waiting" and tree.owner is not None)
    return moves and tree.holder() is None


def _age(journal: _Journal) -> tuple[float, str]:
    return journal.index.created, journal.index.run


def _cursor(page: Sequence[_Journal]) -> str | None:
    return checks.write_cursor(page[-1].index) if page else None
