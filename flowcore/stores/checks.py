"""What every store refuses or fills in, in the same words whichever store it is."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, get_args

from flowcore.errors import RunConflict, RunExists, RunNotFound, StoreError, UserError
from flowcore.graph.values import copy_json
from flowcore.machine.facts import Fact, Standing, Started
from flowcore.machine.wire import Row, decode, encode
from flowcore.stores.base import Append, IndexRow

MAX_ID = 512
"""The longest run or session id, in characters."""


def check_run_id(run: str) -> None:
    """Raises UserError unless ``run`` may name a run: 1 to MAX_ID printable characters (no NUL, no surrogate)."""
    if type(run) is not str or not 0 < len(run) <= MAX_ID or not run.isprintable():
        raise UserError(f"run id {_short(run)}: a run id is a text of 1 to {MAX_ID} printable characters")


def check_session_id(session: str) -> None:
    """Raises UserError unless ``session`` may name a session: a text of 1 to MAX_ID characters, any of them."""
    if type(session) is not str or not 0 < len(session) <= MAX_ID:
        raise UserError(f"session id {_short(session)}: a session id is a text of 1 to {MAX_ID} characters")


def check_json(value: Any, what: str) -> Any:
    """A copy of ``value``, which comes from outside of a run. Raises UserError where it isn't JSON."""
    try:
        return copy_json(value)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{what}: {error}; give plain JSON") from None


def check_member(member: Append) -> None:
    """Raises StoreError unless the member's facts are numbered without a gap."""
    facts = member.facts
    if not facts:
        raise StoreError(f"run '{member.run}': an append without facts; what a run keeps comes with a fact")
    if facts[-1].seq - facts[0].seq != len(facts) - 1:
        raise StoreError(f"run '{member.run}': an append whose facts are numbered {[one.seq for one in facts]}")


def first_index(member: Append) -> IndexRow:
    """The index row of a run that begins: what the member gives, else what its first fact tells."""
    check_run_id(member.run)
    if member.index is not None:
        return member.index
    first = member.facts[0]
    if not isinstance(first, Started):
        raise StoreError(f"run '{member.run}': its first fact is a {type(first).__name__}, not Started")
    return IndexRow(
        run=member.run,
        root=member.root,
        parent=first.parent,
        graph=first.graph,
        fingerprint=first.fingerprint,
        standing="running",
        node=first.node,
        created=first.started,
        updated=first.at,
    )


def first_seq(member: Append, index: IndexRow) -> int:
    """The seq of a new run's first own fact. Raises RunConflict unless the member begins with it."""
    expected = 0 if index.base_seq is None else index.base_seq + 1
    if member.facts[0].seq != expected:
        raise wrong_seq(member, expected)
    return expected


def check_prune(older_than: float | datetime, status: str | Collection[str], now: float) -> tuple[float, list[str]]:
    """Before which moment (seconds since the epoch), and which standings. Raises UserError."""
    known = get_args(Standing)
    standings = [status] if isinstance(status, str) else list(dict.fromkeys(status))
    for one in standings:
        if one not in known:
            raise UserError(f"prune(status={_short(one)}): a standing is one of {', '.join(known)}")
    if isinstance(older_than, datetime):
        return older_than.timestamp(), standings
    if isinstance(older_than, bool) or not isinstance(older_than, (int, float)) or not older_than >= 0:
        raise UserError(f"prune(older_than={_short(older_than)}): give seconds, or a datetime")
    return now - older_than, standings


def no_base(run: str, base: str, seq: int, head: int) -> RunConflict:
    """A fork of more than there is."""
    return RunConflict(
        f"run '{run}': it can't go on from fact {seq} of run '{base}', whose last is {head}", run_id=base
    )


def not_found(run: str) -> RunNotFound:
    """Nobody admitted ``run``."""
    return RunNotFound(f"run '{run}': the store holds no such run", run_id=run)


def exists(run: str) -> RunExists:
    """``run`` was admitted before."""
    return RunExists(f"run '{run}': a run with this id was admitted before; take another id, or resume it", run_id=run)


def kept(run: str) -> RunExists:
    """``run`` was deleted, and forks of it still share its facts."""
    return RunExists(f"run '{run}' was deleted, but forks of it share its facts; take another id", run_id=run)


def not_root_to_delete(run: str, root: str) -> UserError:
    """``run`` is a child: a tree goes as a whole."""
    return UserError(f"run '{run}' is a child of '{root}'; a tree of runs is deleted as a whole: delete '{root}'")


def not_root(run: str, root: str) -> UserError:
    """``run`` is a child: the lease of its tree is the root's."""
    return UserError(f"run '{run}' is a child of '{root}'; the lease of a tree of runs is its root's: claim '{root}'")


def held(run: str, host: str, pid: int, ours: bool) -> RunConflict:
    """Somebody alive holds ``run``."""
    who = "this process" if ours else f"process {pid} on host '{host}'"
    return RunConflict(f"run '{run}' is held by {who}, which is alive; wait until it rests, or stop it", run_id=run)


def lost(member: Append, epoch: int, held_now: bool, current: int | None) -> RunConflict:
    """The append's lease isn't its tree's: ``current`` is the tree's epoch, None where there's no such tree."""
    if current is None:
        why = f"there is no root run '{member.root}'"
    elif current != epoch:
        why = f"its tree was claimed again (epoch {current}, this writer's is {epoch})"
    else:
        why = "this writer has released it" if not held_now else f"its root isn't '{member.root}'"
    return RunConflict(f"run '{member.run}': {why}; nothing was written", run_id=member.run)


def wrong_seq(member: Append, expected: int) -> RunConflict:
    """The member's facts aren't the journal's next ones."""
    return RunConflict(
        f"run '{member.run}': its next fact is number {expected}, not {member.facts[0].seq}; nothing was written",
        run_id=member.run,
    )


def released(run: str) -> RunConflict:
    """``run`` isn't held under the claim that gives it back."""
    return RunConflict(f"run '{run}' isn't held by this writer any more", run_id=run)


def encode_fact(run: str, fact: Fact) -> Row:
    """A fact as a row. Raises StoreError where a value in it isn't JSON."""
    try:
        return encode(fact)
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreError(f"run '{run}': fact {fact.seq} can't be written as JSON: {error}") from None


def decode_row(run: str, where: str, row: Row) -> Fact:
    """The inverse of ``encode_fact``. Raises StoreError for a damaged row, naming the run and where it's kept."""
    try:
        return decode(row)
    except StoreError as error:
        raise StoreError(f"run '{run}' in {where}: {error.message}", lasting=error.lasting) from None


def read_cursor(after: str) -> tuple[float, str]:
    """The inverse of ``write_cursor``. Raises UserError for a text that no page gave."""
    created, _, run = after.partition(" ")
    try:
        return float(created), run
    except ValueError:
        raise UserError(f"after={_short(after)}: give the `after` of an earlier page") from None


def write_cursor(row: IndexRow) -> str:
    """Where the next page begins: after this row."""
    return f"{row.created!r} {row.run}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
