"""Errors as data, and back: what a journal tells of an exception, and what is raised for it later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from flowcore.errors import FlowcoreError, RunCancelled, RunFailed

if TYPE_CHECKING:
    from flowcore.engine.tree import Live


def record_of(error: BaseException) -> dict[str, Any]:
    """``{kind, message}`` of an exception, and what its ``details()`` adds."""
    message = str(error) or type(error).__name__
    record: dict[str, Any] = {"kind": type(error).__name__, "message": message[:20_000]}
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        record["status_code"] = status
    return record


def raise_failure(live: Live) -> NoReturn:
    """Raise what made a run fail: the exception itself where it happened in this process, else its record."""
    s = live.snapshot
    if s.standing == "cancelled":
        raise RunCancelled(f"run '{live.id}' was cancelled at '{s.visit.node}'; resume it to go on", run_id=live.id)
    error = live.exception
    if isinstance(error, BaseException):
        raise error
    record = s.error or {"kind": "RunFailed", "message": f"run '{live.id}' is {s.standing}"}
    message = live.hidden(record["message"])
    raise RunFailed(
        f"{record['kind']}: {message} (run '{live.id}' stands at '{s.visit.node}'; resume it to try again)",
        run_id=live.id,
        kind=record["kind"],
        place=s.visit.node,
    )


def tell(error: BaseException, live: Live) -> None:
    """Put the run and its place into an error's notes, once."""
    if isinstance(error, FlowcoreError) and getattr(error, "run_id", "") is None:
        error.run_id = live.id  # type: ignore[attr-defined]
    note = f"run '{live.id}' stands at '{live.snapshot.visit.node}'; it keeps its place and can be resumed"
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)
