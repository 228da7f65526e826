"""A writer and an evaluator: write, judge, write again with what was found, until it's good or three drafts are made.

    flowcore run graphs/review_loop.py "a teapot that never drips"

The evaluator fills in a form: a mark and one of four weaknesses. Edges by condition read the mark; the writer's limit
has an edge too, and leads to the best draft so far. So the run ends well with any model, the smallest too.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field
from pydantic_core import from_json

from flowcore import END, START, Agent, Graph, ModelSettings, State, append, otherwise, when

DRAFTS = 3
ADVICE = {
    "too long": "Make it shorter.",
    "too vague": "Say exactly what it does.",
    "too dry": "Make it livelier.",
    "none": "Make it even better.",
}


def parsed(given: Any) -> Any:
    """A form as it's filled in: an agent in a graph hands it over as JSON text."""
    return from_json(given) if isinstance(given, str) else given


class Review(BaseModel):
    """What the evaluator says of a draft."""

    score: Annotated[int, Field(ge=1, le=10)]
    weakness: Literal["too long", "too vague", "too dry", "none"]


class Draft(BaseModel):
    """A draft that was judged."""

    text: str
    review: Review


class Advert(State):
    """``product``: what to advertise. ``brief``: what the writer is told."""

    product: str
    brief: str = ""
    text: str = ""
    review: Annotated[Review | None, BeforeValidator(parsed)] = None
    drafts: Annotated[list[Draft], append] = []
    best: str = ""


writer = Agent(
    name="Writer",
    instructions="You write advertisements of one sentence. Answer with the sentence alone.",
    model_settings=ModelSettings(max_tokens=60),
)
evaluator = Agent(
    name="Evaluator",
    instructions="You judge advertisements. Give a score from 1 (bad) to 10 (perfect), and the greatest weakness.",
    output_type=Review,
)


def brief(state: Advert) -> dict[str, str]:
    """Say what the writer should do: at first the task, then what was found wrong with the last draft."""
    task = f"Write one sentence that makes people want to buy {state.product}."
    if state.review is None:
        return {"brief": task}
    return {"brief": f"{task}\nYour last draft was: {state.text}\n{ADVICE[state.review.weakness]}"}


def keep(state: Advert) -> dict[str, list[Draft]]:
    """Keep the draft with its review; where to go from here is decided by the mark."""
    assert state.review is not None
    return {"drafts": [Draft(text=state.text, review=state.review)]}


def choose(state: Advert) -> dict[str, str]:
    """The draft with the best mark, the earliest of those."""
    return {"best": max(state.drafts, key=lambda draft: draft.review.score).text}


write = writer.as_node("write", input="brief", into="text", limit=DRAFTS)
judge = evaluator.as_node("judge", input="text", into="review")

graph = Graph(
    "review_loop",
    Advert,
    {
        START: brief,
        brief: write,
        write: {"done": judge, "limit": choose},
        judge: keep,
        keep: [when("review.score", ">=", 8, choose), otherwise(brief)],
        choose: END,
    },
    takes="product",
    gives="best",
)
