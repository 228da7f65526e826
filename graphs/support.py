"""A support desk that pays money back once a person has agreed.

    flowcore run graphs/support.py "My order 1042 arrived broken, I want my money back"

Triage hands the customer to Orders or Refunds. These use a small database, and Reply tells the customer what came of
it. The model fills in and words; what may come next is decided by plain code (``is_enabled``) and then forced
(``tool_choice="required"``), so even the smallest model can't go astray. ``refund`` needs approval: the run stops at
``await_decision``, for days if need be, and goes on in whichever process resumes it.

The orders are in ``.flowcore/orders.db`` of the working directory. An order is refunded at most once, whoever asks, so
a second run of the sentence above is told that it has been; delete the file to begin again.
"""

import asyncio
import re
import sqlite3
import sys
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from flowcore import (
    Agent,
    HandoffInputData,
    ModelSettings,
    RunContextWrapper,
    ToolContext,
    function_tool,
    handoff,
    start,
)

DATABASE = Path(".flowcore/orders.db")
SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, item TEXT, cents INTEGER, status TEXT);
CREATE TABLE IF NOT EXISTS refunds (order_id INTEGER PRIMARY KEY, cents INTEGER, reason TEXT, key TEXT);
INSERT OR IGNORE INTO orders VALUES
    (1041, 'a teapot', 3200, 'was delivered on Monday'), (1042, 'a glass vase', 4990, 'was delivered yesterday'),
    (1043, 'a desk lamp', 7450, 'is on its way'), (1044, 'two candles', 1280, 'is being packed');
COMMIT;
"""
REFUNDED = "was refunded already"
NO_REASON = "Tool execution was not approved."  # what a tool answers when a person says no and nothing else
MONEY = re.compile(r"refund|money|reimburse|return|broken|damaged", re.IGNORECASE)
NEWS = re.compile(r"\b(where|when|status|track\w*|deliver\w*|shipp\w*|arrive)\b", re.IGNORECASE)

Items = Iterable[Mapping[str, Any]]
Ctx = RunContextWrapper[Any]
OrderId = Annotated[int, pydantic.Field(ge=1000, le=9999)]
Reason = Literal["arrived broken", "wrong item", "never arrived", "not wanted any more"]


def database() -> sqlite3.Connection:
    """The shop's database. Made and filled at first use; any number of processes may do so at once."""
    DATABASE.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(DATABASE, timeout=30, isolation_level=None)
    connection.executescript(SCHEMA)
    return connection


# --- what has happened so far, read from the run's items ---


def messages(items: Items) -> list[str]:
    """What the customer wrote."""
    written = [item["content"] for item in items if item.get("role") == "user"]
    return [one if isinstance(one, str) else " ".join(part.get("text", "") for part in one) for one in written]


def order_numbers(items: Items) -> list[int]:
    """The order numbers in the customer's latest message that has some."""
    found = (re.findall(r"\b\d{4}\b", text) for text in reversed(messages(items)))
    return [int(number) for number in next(filter(None, found), [])]


def results(items: Items, tool: str) -> list[str]:
    """What a tool answered since the customer wrote last."""
    calls: dict[str, str] = {}
    found: list[str] = []
    for item in items:
        if item.get("role") == "user":
            found.clear()
        elif item.get("type") == "function_call":
            calls[item["call_id"]] = item["name"]
        elif item.get("type") == "function_call_output" and calls.get(item["call_id"]) == tool:
            found.append(item["output"])
    return found


# --- which step may come next: `is_enabled` of tools and handoffs ---


def may_ask(ctx: Ctx, agent: Any) -> bool:
    """Orders is a choice. Where the customer's words are plain only one choice is left, else the model has two."""
    return not MONEY.search(messages(ctx.turn_input)[-1])


def may_want_money(ctx: Ctx, agent: Any) -> bool:
    """Refunds is a choice."""
    text = messages(ctx.turn_input)[-1]
    return bool(MONEY.search(text)) or not NEWS.search(text)


def can_look_up(ctx: Ctx, agent: Any) -> bool:
    """There's a number, and nobody has looked yet."""
    return bool(order_numbers(ctx.turn_input)) and not results(ctx.turn_input, "lookup_order")


def can_refund(ctx: Ctx, agent: Any) -> bool:
    """An order was found that isn't refunded, and nobody has tried yet."""
    found = [one for one in results(ctx.turn_input, "lookup_order") if one.startswith("Order ") and REFUNDED not in one]
    return bool(found) and not results(ctx.turn_input, "refund")


def no_tool_is_left(ctx: Ctx, agent: Agent[Any]) -> bool:
    """None of the agent's tools may be used any more: it's time to reply."""
    return not any(tool.is_enabled(ctx, agent) for tool in agent.tools)


# --- tools. failure_error_function=None: when the database is away the run fails, keeps its place, and is resumed ---


@function_tool(is_enabled=can_look_up, failure_error_function=None)
def lookup_order(ctx: ToolContext[Any], order_id: OrderId) -> str:
    """Look up an order.

    Args:
        order_id: The number of the order that the customer wrote.
    """
    written = order_numbers(ctx.turn_input)
    order_id = order_id if order_id in written else written[0]  # a tiny model may misread it
    with closing(database()) as shop:
        order = shop.execute("SELECT item, cents, status FROM orders WHERE id = ?", (order_id,)).fetchone()
        refunded = shop.execute("SELECT 1 FROM refunds WHERE order_id = ?", (order_id,)).fetchone()
    if order is None:
        return f"We have no order {order_id}. Please check the number."
    item, cents, status = order
    return f"Order {order_id}, {item} for ${cents / 100:.2f}, {REFUNDED if refunded else status}."


@function_tool(is_enabled=can_refund, needs_approval=True, failure_error_function=None)
def refund(ctx: ToolContext[Any], order_id: OrderId, reason: Reason) -> str:
    """Refund an order: give the customer the money back.

    Args:
        order_id: The number of the order that was looked up.
        reason: Why the customer wants the money back.
    """
    if not any(one.startswith(f"Order {order_id},") for one in results(ctx.turn_input, "lookup_order")):
        return f"We can't refund order {order_id}: it isn't the one that was looked up."
    paid = (reason, ctx.idempotency_key, order_id)
    with closing(database()) as shop:
        # One statement decides. The key tells this call's second attempt, after a crash, from somebody else's refund.
        shop.execute("INSERT OR IGNORE INTO refunds SELECT id, cents, ?, ? FROM orders WHERE id = ?", paid)
        cents, key = shop.execute("SELECT cents, key FROM refunds WHERE order_id = ?", (order_id,)).fetchone()
    if key != ctx.idempotency_key:
        return f"Order {order_id} {REFUNDED}."
    return f"We have refunded ${cents / 100:.2f} for order {order_id}. The money arrives within 5 days."


# --- agents ---


def only_what_to_say(data: HandoffInputData) -> HandoffInputData:
    """Reply sees what came of it and nothing else: a tiny model can repeat that, but not sum up a conversation."""
    items = [item.to_input_item() for item in data.pre_handoff_items]
    refunded = results(items, "refund")
    say = " ".join(refunded or results(items, "lookup_order")) or "Please tell us the number of your order."
    if refunded and not re.match("We |Order ", say):  # a person said no, and maybe why
        say = "We can't refund your order" + ("." if say == NO_REASON else f": {say}")
    told = {"role": "user", "content": f"Repeat this text word by word: Hello! {say}"}
    return data.clone(input_history=(told,), pre_handoff_items=(), new_items=())


def desk(name: str, **more: Any) -> Agent[Any]:
    """An agent that doesn't talk: each of its turns uses one of the tools and handoffs that are enabled."""
    return Agent(name=name, model_settings=ModelSettings(tool_choice="required"), reset_tool_choice=False, **more)


reply: Agent[Any] = Agent(name="Reply", instructions="You answer the customers of a shop.")
to_reply = handoff(reply, input_filter=only_what_to_say, is_enabled=no_tool_is_left)
orders = desk(
    "Orders",
    handoff_description="For customers who ask about an order: where it is, when it arrives.",
    instructions="You tell customers about their orders. Look the order up.",
    tools=[lookup_order],
    handoffs=[to_reply],
)
refunds = desk(
    "Refunds",
    handoff_description="For customers who want their money back: it's broken, wrong or not wanted.",
    instructions="You handle refunds. Look the customer's order up, then refund it.",
    tools=[lookup_order, refund],
    handoffs=[to_reply],
)
graph = desk(
    "Triage",
    instructions="Choose who helps the customer.",
    handoffs=[handoff(orders, is_enabled=may_ask), handoff(refunds, is_enabled=may_want_money)],
)


async def main(text: str) -> None:
    """Run it on the terminal: whoever sits there decides."""
    run = await start(graph, text)
    while await run.drive() == "waiting":
        for request in await run.requests():
            said = await asyncio.to_thread(input, f"{request.data['tool']} {request.data['arguments']}? [y/N] ")
            await run.answer(request.key, said == "y")
    print((await run).output)


if __name__ == "__main__":
    asyncio.run(main(" ".join(sys.argv[1:]) or "My order 1042 arrived broken, I want my money back"))
