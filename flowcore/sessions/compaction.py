"""A session that is shortened now and then: OpenAI's ``responses.compact`` writes a short form of its history."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypedDict, cast, runtime_checkable

from flowcore.agents.session import SessionABC, SessionSettings, as_session, ask, limit_of
from flowcore.agents.session_input import limited, without_open_calls
from flowcore.errors import ModelBehaviorError, UserError
from flowcore.models.base import Item
from flowcore.models.openai_client import Clients
from flowcore.models.openai_defaults import default_openai_client
from flowcore.models.openai_errors import to_model_error
from flowcore.models.usage import Usage
from flowcore.sessions.openai_conversations import OpenAIConversationsSession
from flowcore.sessions.replacing import everything, replace

if TYPE_CHECKING:
    from openai import AsyncOpenAI

    from flowcore.agents.context import RunContextWrapper

CANDIDATES = 10
"""From how many candidates on a session is compacted, where nothing else is said."""
CompactionMode: TypeAlias = Literal["previous_response_id", "input", "auto"]
_MODES = ("previous_response_id", "input", "auto")
_MODEL = re.compile(r"(ft:)?(gpt-|o\d).*")


class OpenAIResponsesCompactionArgs(TypedDict, total=False):
    """What ``run_compaction`` takes. ``response_id``: the last reply's. ``compaction_mode``: instead of the session's.
    ``store``: whether the server kept that reply. ``force``: compact whatever the trigger says."""

    response_id: str
    compaction_mode: CompactionMode
    store: bool
    force: bool


@runtime_checkable
class OpenAIResponsesCompactionAwareSession(Protocol):
    """A session that wants to be asked, after each turn, whether it should be compacted."""

    async def run_compaction(self, args: OpenAIResponsesCompactionArgs | None = None) -> None:
        """Compact, if it's time."""
        ...


def is_openai_responses_compaction_aware_session(session: Any) -> bool:
    """Whether the session has a ``run_compaction``."""
    return callable(getattr(session, "run_compaction", None))


def compaction_candidates(items: list[Item]) -> list[Item]:
    """What compaction would shorten: neither what the user said nor what was compacted before."""
    return [item for item in items if item.get("role") != "user" and item.get("type") != "compaction"]


def _enough(context: dict[str, Any]) -> bool:
    return len(context["compaction_candidate_items"]) >= CANDIDATES


class OpenAIResponsesCompactionSession(SessionABC):
    """``underlying_session``, compacted by OpenAI when ``should_trigger_compaction`` says so.

    ``client``: None is the process's default. ``model``: an OpenAI model. ``compaction_mode``: how the server learns of
    the history: by the last reply's id ("previous_response_id"), or by the items ("input"); "auto" takes the id where
    the server kept that reply and nothing was added since. ``should_trigger_compaction``: asked with a dict of
    ``response_id``, ``compaction_mode``, ``compaction_candidate_items`` and ``session_items``; None: 10 candidates.
    """

    def __init__(
        self,
        session_id: str,
        underlying_session: Any,
        *,
        client: AsyncOpenAI | None = None,
        model: str = "gpt-4.1",
        compaction_mode: CompactionMode = "auto",
        should_trigger_compaction: Callable[[dict[str, Any]], bool] | None = None,
    ) -> None:
        if isinstance(underlying_session, OpenAIConversationsSession):
            raise ValueError(
                "OpenAIResponsesCompactionSession cannot wrap OpenAIConversationsSession because it manages its own "
                "history on the server."
            )
        if not isinstance(model, str) or not _MODEL.fullmatch(model):
            raise ValueError(f"Unsupported model for OpenAI responses compaction: {model}")
        self.session_id = session_id
        self.underlying_session = as_session(underlying_session)
        self.model = model
        self.compaction_mode = _checked_mode(compaction_mode)
        self.should_trigger_compaction = should_trigger_compaction or _enough
        self._given = client or default_openai_client()
        self._clients = Clients()
        self._response_id: str | None = None

    @property
    def client(self) -> AsyncOpenAI:
        """The client that compacts."""
        return self._given or self._clients.get()

    @property
    def session_settings(self) -> SessionSettings | None:
        """The settings of the underlying session."""
        return getattr(self.underlying_session, "session_settings", None)

    @session_settings.setter
    def session_settings(self, value: SessionSettings | None) -> None:
        self.underlying_session.session_settings = value

    async def run_compaction(
        self, args: OpenAIResponsesCompactionArgs | None = None, *, wrapper: RunContextWrapper[Any] | None = None
    ) -> None:
        """Compact the history if the trigger says so, or by force. What the request used is added to ``wrapper``'s.

        Calls without an output yet stay behind the short form, and so does what is added meanwhile; when the history
        is changed otherwise meanwhile, it's left alone. Raises ModelError when the server refuses, ValueError when
        "previous_response_id" is asked for and no id is known: the history is as it was.
        """
        given = _checked(args)
        self._response_id = given.get("response_id") or self._response_id
        before = await everything(self.underlying_session, wrapper)
        visible = limited(before, limit_of(self.underlying_session))
        settled = without_open_calls(visible)
        mode = self._mode(given, settled_all=len(settled) == len(visible))
        context = {
            "response_id": self._response_id,
            "compaction_mode": mode,
            "compaction_candidate_items": compaction_candidates(visible),
            "session_items": visible,
        }
        if not given.get("force") and not self.should_trigger_compaction(context):
            return
        short = await self._compact(mode, settled, wrapper)
        settled_ids = {id(item) for item in settled}
        still_open = [item for item in visible if id(item) not in settled_ids]
        now = await everything(self.underlying_session, wrapper)
        if now[: len(before)] == before:
            self._response_id = None
            await replace(self.underlying_session, [*short, *still_open, *now[len(before) :]], wrapper)

    def _mode(self, given: OpenAIResponsesCompactionArgs, settled_all: bool) -> str:
        mode = _checked_mode(given.get("compaction_mode") or self.compaction_mode)
        if mode == "auto":
            by_id = self._response_id and given.get("store") is not False and settled_all
            return "previous_response_id" if by_id else "input"
        if mode == "previous_response_id" and not self._response_id:
            raise ValueError(
                "OpenAIResponsesCompactionSession.run_compaction requires a response_id when using "
                "previous_response_id compaction."
            )
        return mode

    async def _compact(self, mode: str, items: list[Item], wrapper: RunContextWrapper[Any] | None) -> list[Item]:
        where = f"compaction of session {self.session_id!r} by model '{self.model}'"
        body = {"previous_response_id": self._response_id} if mode == "previous_response_id" else {"input": items}
        try:
            raw = await self.client.responses.with_raw_response.compact(model=self.model, extra_body=body)
            data = raw.http_response.json()
        except Exception as error:
            mapped = to_model_error(error, where=where)
            if mapped is None:
                raise
            raise mapped from error
        short = data.get("output") if isinstance(data, dict) else None
        if not isinstance(short, list) or not short or not all(isinstance(item, dict) for item in short):
            raise ModelBehaviorError(f"{where}: the answer has no items; the history is as it was")
        if wrapper is not None:
            wrapper.usage.add(Usage.of_request(data.get("usage")))
        return cast(list[Item], short)

    async def get_items(self, limit: int | None = None, *, wrapper: RunContextWrapper[Any] | None = None) -> list[Item]:
        """The items of the underlying session."""
        items: list[Item] = await ask(self.underlying_session, "get_items", limit, wrapper=wrapper)
        return items

    async def add_items(self, items: list[Item], *, wrapper: RunContextWrapper[Any] | None = None) -> None:
        """Add items at the end, all or none."""
        await ask(self.underlying_session, "add_items", items, wrapper=wrapper)
        self._response_id = None  # it doesn't cover them

    async def pop_item(self, *, wrapper: RunContextWrapper[Any] | None = None) -> Item | None:
        """Remove and return the latest item; None if there's none."""
        self._response_id = None
        item: Item | None = await ask(self.underlying_session, "pop_item", wrapper=wrapper)
        return item

    async def clear_session(self, *, wrapper: RunContextWrapper[Any] | None = None) -> None:
        """Remove all items."""
        self._response_id = None
        await ask(self.underlying_session, "clear_session", wrapper=wrapper)


def _checked(args: Any) -> OpenAIResponsesCompactionArgs:
    known = OpenAIResponsesCompactionArgs.__annotations__
    if args is not None and (not isinstance(args, dict) or not set(args) <= set(known)):
        raise UserError(f"run_compaction({args!r}): give a dict with some of {', '.join(known)}, or None")
    return cast(OpenAIResponsesCompactionArgs, args or {})


def _checked_mode(mode: Any) -> CompactionMode:
    if mode not in _MODES:
        raise UserError(f"compaction_mode={mode!r}: give one of {', '.join(map(repr, _MODES))}")
    return cast(CompactionMode, mode)
