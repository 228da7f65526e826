"""A pipeline without a model: load, validate, transform, write.

    flowcore run graphs/pipeline.py graphs/orders.csv

A table of orders becomes totals by item, in ``.flowcore/totals.json``. Reading is tried three times where the disk
falters, but a file that isn't there is no trouble that passes: it has an edge of its own. Rows that don't fit are told
and left out; what comes next is decided by conditions on the state.
"""

import csv
import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError
from tenacity import retry_if_exception_type, retry_if_not_exception_type, wait_exponential

from flowcore import END, START, Context, Goto, Graph, Retry, State, append, node, otherwise, when

OUTPUT = Path(".flowcore/totals.json")
FALTERS = Retry(
    stop=3,
    wait=wait_exponential(multiplier=0.1, max=2),
    retry=retry_if_exception_type(OSError) & retry_if_not_exception_type(FileNotFoundError),
)


class Order(BaseModel):
    """A row that fits."""

    item: str = Field(min_length=1)
    count: int = Field(ge=1)
    price: float = Field(gt=0)


class Orders(State):
    """``path``: the table. ``rows``: as they were read. ``told``: what a person should know."""

    path: str
    rows: list[dict[str, str]] = []
    orders: list[Order] = []
    wrong: list[str] = []
    totals: dict[str, float] = {}
    told: Annotated[list[str], append] = []


@node(retry=FALTERS)
def load(state: Orders) -> dict[str, Any]:
    """Read the table."""
    with open(state.path, encoding="utf-8", newline="") as file:
        rows = [{name: row[name] or "" for name in row if name} for row in csv.DictReader(file)]
    return {"rows": rows}


def validate(state: Orders) -> dict[str, Any]:
    """Part the rows that fit from those that don't."""
    orders, wrong = [], []
    for line, row in enumerate(state.rows, 2):
        try:
            orders.append(Order.model_validate(row))
        except ValidationError as error:
            first = error.errors()[0]
            wrong.append(f"line {line}: {'.'.join(map(str, first['loc']))}: {first['msg']}")
    return {"orders": orders, "wrong": wrong}


def report(state: Orders) -> dict[str, list[str]]:
    """Tell which rows are left out."""
    return {"told": [f"{len(state.wrong)} of {len(state.rows)} rows are left out", *state.wrong]}


def transform(state: Orders) -> dict[str, dict[str, float]]:
    """Add up what was spent on each item."""
    totals: dict[str, float] = {}
    for order in state.orders:
        totals[order.item] = round(totals.get(order.item, 0) + order.count * order.price, 2)
    return {"totals": totals}


@node(retry=FALTERS)
def write(state: Orders, ctx: Context) -> Goto[Literal["written"]]:
    """Write the totals. Whoever reads sees the old file or the new one; to write it twice does no harm."""
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    draft = OUTPUT.with_suffix(f".{ctx.run_id}")
    draft.write_text(json.dumps(state.totals), encoding="utf-8")
    os.replace(draft, OUTPUT)
    return Goto("written", told=[f"{len(state.totals)} totals are in {OUTPUT}"])


def missing(state: Orders) -> dict[str, list[str]]:
    """There's no such file."""
    return {"told": [f"there is no file {state.path}"]}


def nothing(state: Orders) -> dict[str, list[str]]:
    """There's nothing to add up, so nothing is written."""
    return {"told": ["no row fits", *state.wrong]}


graph = Graph(
    "pipeline",
    Orders,
    {
        START: load,
        load: {"done": validate, FileNotFoundError: missing},
        validate: [when("orders", "is empty", target=nothing), when("wrong", "is empty", target=transform),
                   otherwise(report)],
        report: transform,
        transform: write,
        write: {"written": END},
        missing: END,
        nothing: END,
    },
    takes="path",
    gives="told",
)  # fmt: skip
