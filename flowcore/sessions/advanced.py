"""A SQLite session with branches: go back to a turn and go on from there; and what each turn used."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import time
from dataclasses import asdict
from typing import Any

from flowcore.agents.session import Settings
from flowcore.errors import UserError
from flowcore.models.base import Item
from flowcore.sessions import branch_tables as branches
from flowcore.sessions.sqlite import SQLiteSession
from flowcore.sessions.wire import decode, encode, how_many

EXCERPT = 100
"""How much of a turn's text lists show, in characters."""


class AdvancedSQLiteSession(SQLiteSession):
    """A ``SQLiteSession`` whose items belong to branches. It begins on "main"; each object has its own current branch.

    ``create_tables``: make the tables of branches and usage, where they aren't there. ``logger``: told of new and
    deleted branches. ``kwargs``: the tables' names. Methods raise ValueError for branches and turns that aren't there,
    and for names of branches that are taken or were once.
    """

    def __init__(
        self,
        *,
        session_id: str,
        db_path: str | os.PathLike[str] = ":memory:",
        create_tables: bool = False,
        logger: logging.Logger | None = None,
        session_settings: Settings = None,
        **kwargs: Any,
    ) -> None:
        self._to_make = create_tables
        self._logger = logger or logging.getLogger(__name__)
        self._current = branches.MAIN
        super().__init__(session_id, db_path, session_settings=session_settings, **kwargs)

    def _make_tables(self, connection: sqlite3.Connection) -> None:
        super()._make_tables(connection)
        if self._to_make:
            branches.make(connection, self._tables)
        elif not branches.are_there(connection):
            raise UserError(f"{self._where}: the tables of branches aren't there; pass create_tables=True")

    # Items

    async def get_items(self, limit: int | None = None, branch_id: str | None = None) -> list[Item]:
        """The items of a branch (None: the current one), oldest first; with ``limit`` the latest so many."""
        most = how_many(limit, self.session_settings)
        branch = branch_id or self._current

        def job(connection: sqlite3.Connection) -> list[Item]:
            found = branches.latest(connection, self._tables, self.session_id, branch, most)
            return [decode(text, self._where) for _, text in found]

        return await self._database.read(job)

    async def add_items(self, items: list[Item]) -> None:
        """Add items at the current branch's end, all or none."""
        texts = encode(items, self._where)
        branch = self._current
        if texts:
            await self._database.write(lambda connection: self._add(connection, branch, texts))

    def _add(self, connection: sqlite3.Connection, branch: str, texts: list[str]) -> None:
        self._refuse_deleted(connection, branch)
        ids = self._tables.add(connection, self.session_id, texts)
        items = [decode(text, self._where) for text in texts]
        branches.add(connection, self.session_id, branch, list(zip(ids, items, strict=True)))

    def _refuse_deleted(self, connection: sqlite3.Connection, branch: str) -> None:
        """Another object may have deleted this one's branch."""
        if not branches.exists(connection, self.session_id, branch):
            raise ValueError(f"Branch '{branch}' was deleted meanwhile; switch to another one")

    async def pop_item(self) -> Item | None:
        """Remove and return the current branch's latest item; other branches keep theirs."""
        branch = self._current

        def job(connection: sqlite3.Connection) -> Item | None:
            found = branches.latest(connection, self._tables, self.session_id, branch, 1)
            if not found:
                return None
            item = decode(found[0][1], self._where)
            branches.remove(connection, self._tables, self.session_id, branch, found[0][0])
            return item

        return await self._database.write(job)

    async def clear_session(self) -> None:
        """Remove all items of all branches, and go to "main". The branches' names stay taken."""

        def job(connection: sqlite3.Connection) -> None:
            branches.clear(connection, self.session_id)
            self._tables.clear(connection, self.session_id)

        await self._database.write(job)
        self._current = branches.MAIN

    async def replace_items(self, items: list[Item]) -> None:
        """Put these items in the place of all of the current branch, in one transaction."""
        texts = encode(items, self._where)
        branch = self._current

        def job(connection: sqlite3.Connection) -> None:
            self._refuse_deleted(connection, branch)
            branches.remove(connection, self._tables, self.session_id, branch, None)
            ids = self._tables.add(connection, self.session_id, texts)
            new = [decode(text, self._where) for text in texts]
            branches.add(connection, self.session_id, branch, list(zip(ids, new, strict=True)))

        await self._database.write(job)

    # Branches

    async def create_branch_from_turn(self, turn_number: int, branch_name: str | None = None) -> str:
        """Begin a branch with what the current one has before a turn's user message, and switch to it; its name."""
        if branch_name is not None and not branch_name.strip():
            raise ValueError("Branch name cannot be empty")
        old = self._current

        def job(connection: sqlite3.Connection) -> str:
            turns = [turn["turn"] for turn in self._turns(connection, old)]
            if turn_number not in turns:
                raise ValueError(f"Turn {turn_number} does not contain a user message in branch '{old}'")
            new = branch_name or self._free_name(connection, f"branch_from_turn_{turn_number}_{int(time.time())}")
            if branches.is_taken(connection, self.session_id, new):
                raise ValueError(f"Branch ID '{new}' has already been used. Choose a new branch ID.")
            branches.reserve(connection, self.session_id, branches.MAIN)
            branches.reserve(connection, self.session_id, new)
            branches.copy(connection, self.session_id, old, new, turn_number)
            return new

        new = self._current = await self._database.write(job)
        self._logger.debug("branch %r begun at turn %s of %r", new, turn_number, old)
        return new

    def _free_name(self, connection: sqlite3.Connection, name: str) -> str:
        """The name, or with a number: two branches may begin in one second."""
        free, number = name, 1
        while branches.is_taken(connection, self.session_id, free):
            number += 1
            free = f"{name}_{number}"
        return free

    async def create_branch_from_content(self, search_term: str, branch_name: str | None = None) -> str:
        """``create_branch_from_turn`` at the first turn whose user message has these words."""
        found = await self.find_turns_by_content(search_term)
        if not found:
            raise ValueError(f"No user turns found containing '{search_term}'")
        return await self.create_branch_from_turn(found[0]["turn"], branch_name)

    async def switch_to_branch(self, branch_id: str) -> None:
        """Make another branch the current one of this object."""
        if branch_id != self._current and not await self._exists(branch_id):
            raise ValueError(f"Branch '{branch_id}' does not exist")
        self._current = branch_id

    async def _exists(self, branch: str) -> bool:
        return await self._database.read(lambda connection: branches.exists(connection, self.session_id, branch))

    async def delete_branch(self, branch_id: str, force: bool = False) -> None:
        """Remove a branch with the items that no other one has. ``force``: the current one too, then "main" is it."""
        if not branch_id or not branch_id.strip():
            raise ValueError("Branch ID cannot be empty")
        if branch_id == branches.MAIN:
            raise ValueError("Cannot delete the 'main' branch")
        if branch_id == self._current and not force:
            raise ValueError(f"Cannot delete current branch '{branch_id}'. Use force=True or switch branches first")

        def job(connection: sqlite3.Connection) -> None:
            if not branches.exists(connection, self.session_id, branch_id):
                raise ValueError(f"Branch '{branch_id}' does not exist")
            branches.delete(connection, self._tables, self.session_id, branch_id)

        await self._database.write(job)
        if branch_id == self._current:
            self._current = branches.MAIN
        self._logger.debug("branch %r deleted", branch_id)

    async def list_branches(self) -> list[dict[str, Any]]:
        """The branches, the current one first: ``branch_id``, ``message_count``, ``user_turns``, ``is_current``,
        ``created_at``. Of branches without items only the current one is listed, without the last."""
        found = await self._database.read(lambda connection: branches.branches(connection, self.session_id))
        names = ("branch_id", "message_count", "user_turns", "created_at")
        if self._current != branches.MAIN and not any(row[0] == self._current for row in found):
            found.append((self._current, 0, 0, None))
        listed = [dict(zip(names, row, strict=True)) for row in found]
        for branch in listed:
            branch["is_current"] = branch["branch_id"] == self._current
        return sorted(listed, key=lambda branch: not branch["is_current"])

    # Turns

    async def get_conversation_turns(self, branch_id: str | None = None) -> list[dict[str, Any]]:
        """A branch's turns: ``turn`` (its number), ``content`` (the first 100 characters of what the user said),
        ``full_content``, ``timestamp``, ``can_branch``."""
        branch = branch_id or self._current
        return await self._database.read(lambda connection: self._turns(connection, branch))

    async def find_turns_by_content(self, search_term: str, branch_id: str | None = None) -> list[dict[str, Any]]:
        """A branch's turns whose user message has these words, whatever their case."""
        wanted = search_term.casefold()
        turns = await self.get_conversation_turns(branch_id)
        return [turn for turn in turns if wanted in _words(turn["full_content"]).casefold()]

    def _turns(self, connection: sqlite3.Connection, branch: str) -> list[dict[str, Any]]:
        turns = []
        for row in branches.rows(connection, self._tables, self.session_id, branch):
            if row.kind == "user":
                said = decode(row.text, self._where).get("content", "")
                text = said if isinstance(said, str) else json.dumps(said)
                short = text if len(text) <= EXCERPT else text[:EXCERPT] + "..."
                turns.append(
                    {"turn": row.turn, "content": short, "full_content": said, "timestamp": row.at, "can_branch": True}
                )
        return turns

    async def get_conversation_by_turns(self, branch_id: str | None = None) -> dict[int, list[dict[str, str | None]]]:
        """What each turn of a branch consists of: a ``type`` and a ``tool_name`` for each item."""
        turns: dict[int, list[dict[str, str | None]]] = {}
        for row in await self._rows(branch_id):
            turns.setdefault(row.turn, []).append({"type": row.kind, "tool_name": row.tool})
        return turns

    async def get_tool_usage(self, branch_id: str | None = None) -> list[tuple[str, int, int]]:
        """The tools that a branch called: name, how often, in which turn; by turn and name."""
        counts: dict[tuple[int, str], int] = {}
        for row in await self._rows(branch_id):
            if row.tool is not None:
                counts[row.turn, row.tool] = counts.get((row.turn, row.tool), 0) + 1
        return [(name, counts[turn, name], turn) for turn, name in sorted(counts)]

    async def _rows(self, branch_id: str | None) -> list[branches.Row]:
        branch = branch_id or self._current

        def job(connection: sqlite3.Connection) -> list[branches.Row]:
            return branches.rows(connection, self._tables, self.session_id, branch)

        return await self._database.read(job)

    # Usage

    async def store_run_usage(self, result: Any) -> None:
        """Note what a run used as the usage of the current branch's last turn. Call it after each run."""
        usage = result.context_wrapper.usage
        told = {name: getattr(usage, name) for name in ("requests", "input_tokens", "output_tokens", "total_tokens")}
        told["input_tokens_details"] = asdict(usage.input_tokens_details)
        told["output_tokens_details"] = asdict(usage.output_tokens_details)
        branch = self._current

        def job(connection: sqlite3.Connection) -> None:
            turn = branches.last_turn(connection, self.session_id, branch)
            if turn:
                branches.write_usage(connection, self.session_id, branch, turn, told)

        await self._database.write(job)

    async def get_session_usage(self, branch_id: str | None = None) -> dict[str, int] | None:
        """What a branch (None: all of them) used: ``requests``, ``input_tokens``, ``output_tokens``, ``total_tokens``,
        ``total_turns``; None if nothing is known."""
        return await self._database.read(lambda connection: branches.sum_usage(connection, self.session_id, branch_id))

    async def get_turn_usage(
        self, user_turn_number: int | None = None, branch_id: str | None = None
    ) -> list[dict[str, Any]] | dict[str, Any]:
        """What each turn of a branch used; of one turn, {} if nothing is known."""
        branch = branch_id or self._current
        turns = await self._database.read(
            lambda connection: branches.usage_of_turns(connection, self.session_id, branch)
        )
        if user_turn_number is None:
            return turns
        for turn in turns:
            if turn.pop("user_turn_number") == user_turn_number:
                return turn
        return {}


def _words(content: Any) -> str:
    """The text of a message's content, for searching."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return ""
