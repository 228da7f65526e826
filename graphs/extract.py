"""Read a hundred invoices side by side; some can't be read, and that's no reason to lose the others.

    flowcore run graphs/extract.py 100

The input is how many invoices there are (each takes the small model half a second). Every invoice is a child run: a
model fills in a form, plain code checks it against the text. What fails is listed with its reason; if more than a
quarter did, the run says so and gives no sum. The invoices are made up, so that there's something to read; every ninth
is an empty page.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field
from pydantic_core import from_json

from flowcore import END, START, Agent, Goto, Graph, Json, State, map

TOLERATED = 0.25
SELLERS = ("Acme", "Bolt", "Crown", "Delta")
GOODS = ("teapots", "vases", "candles", "lamps")


def parsed(given: Any) -> Any:
    """A form as it's filled in: an agent in a graph hands it over as JSON text."""
    return from_json(given) if isinstance(given, str) else given


class Invoice(BaseModel):
    """What an invoice says."""

    number: Annotated[int, Field(ge=1000, le=9999)]
    total: Annotated[int, Field(ge=1, le=999)]


class Page(State):
    """One document on its way: ``text``, then what a model read in it."""

    text: str
    invoice: Annotated[Invoice | None, BeforeValidator(parsed)] = None


class Invoices(State):
    """``found``: one for each document, None where it failed; ``failed``: which, and why."""

    count: Annotated[int, Field(ge=1, le=10_000)] = 100
    documents: list[str] = []
    found: list[Invoice | None] = []
    failed: list[Json] = []
    summary: str = ""


def look(state: Page) -> None:
    """Refuse an empty page before a model is asked."""
    if not state.text.strip():
        raise ValueError("the page is empty")


def check(state: Page) -> None:
    """Believe nothing that isn't in the text."""
    assert state.invoice is not None
    for name, value in state.invoice:
        if not re.search(rf"\b{value}\b", state.text):
            raise ValueError(f"the text has no {name} {value}")


reader = Agent(
    name="Reader",
    instructions="Read the invoice. Give its number and its total in dollars.",
    output_type=Invoice,
)
read = reader.as_node("read", input="text", into="invoice")
page = Graph("page", Page, {START: look, look: read, read: check, check: END}, takes="text", gives="invoice")


def collect(state: Invoices) -> dict[str, list[str]]:
    """Fetch the documents. (These are made up; yours come from a disk or a mailbox.)"""
    return {"documents": ["" if one % 9 == 8 else invoice(one) for one in range(state.count)]}


def invoice(one: int) -> str:
    """The text of an invoice."""
    goods = f"{one % 7 + 2} {GOODS[one % 4]}"
    return f"{SELLERS[one // 4 % 4]} Ltd.\nInvoice number: {1000 + 37 * one % 9000}\nFor {goods}\nTotal: ${20 + one}"


def weigh(state: Invoices) -> Goto[Literal["enough", "too_few"]]:
    """Whether enough of them could be read."""
    return Goto("enough" if len(state.failed) <= state.count * TOLERATED else "too_few")


def add_up(state: Invoices) -> dict[str, str]:
    """The sum of what could be read."""
    found = [one for one in state.found if one is not None]
    return {"summary": f"{len(found)} of {state.count} invoices, ${sum(one.total for one in found)} in all"}


def too_few(state: Invoices) -> dict[str, str]:
    """A sum of too few would mislead."""
    return {"summary": f"{len(state.failed)} of {state.count} invoices can't be read: no sum"}


extract = map(page, over="documents", into="found", errors="failed", failures="collect", name="extract", concurrency=8)

graph = Graph(
    "extract",
    Invoices,
    {
        START: collect,
        collect: extract,
        extract: weigh,
        weigh: {"enough": add_up, "too_few": too_few},
        add_up: END,
        too_few: END,
    },
    takes="count",
    gives="summary",
)
