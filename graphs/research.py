"""Research: plan questions, answer them side by side, join the answers, write, and let a critic send it back twice.

    flowcore run graphs/research.py "why bees dance"

Each question is a child run with a journal of its own, so a crash repeats only those that had no answer yet. The critic
chooses one of three words; whatever it says, the loop ends with the third draft.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field
from pydantic_core import from_json

from flowcore import END, START, Agent, Graph, ModelSettings, State, map, otherwise, when

DRAFTS = 3
CURES = {"too short": "Write a little more.", "unclear": "Use plainer words."}


def parsed(given: Any) -> Any:
    """A form as it's filled in: an agent in a graph hands it over as JSON text."""
    return from_json(given) if isinstance(given, str) else given


class Plan(BaseModel):
    """What has to be known."""

    questions: Annotated[list[Annotated[str, Field(min_length=8, max_length=120)]], Field(min_length=2, max_length=3)]


class Critique(BaseModel):
    """What the critic says."""

    verdict: Literal["good", "too short", "unclear"]


class Research(State):
    """``brief``: what the writer is told."""

    topic: str
    plan: Annotated[Plan | None, BeforeValidator(parsed)] = None
    questions: list[str] = []
    answers: list[str] = []
    brief: str = ""
    report: str = ""
    critique: Annotated[Critique | None, BeforeValidator(parsed)] = None


def short(name: str, instructions: str, tokens: int) -> Agent:
    """An agent whose answers are short."""
    return Agent(name=name, instructions=instructions, model_settings=ModelSettings(max_tokens=tokens))


planner = Agent(name="Planner", instructions="Ask two or three short questions about the topic.", output_type=Plan)
answerer = short("Answerer", "Answer the question in one or two sentences.", 80)
writer = short("Writer", "You write short reports. Use what you are given and nothing else.", 160)
critic = Agent(name="Critic", instructions="Judge the report: good, too short or unclear.", output_type=Critique)


def split(state: Research) -> dict[str, list[str]]:
    """The questions, each once."""
    assert state.plan is not None
    return {"questions": list(dict.fromkeys(state.plan.questions))}


def join(state: Research) -> dict[str, str]:
    """What the writer is given: every question with its answer, in the planner's order."""
    pairs = zip(state.questions, state.answers, strict=True)
    notes = "\n\n".join(f"{question}\n{answer}" for question, answer in pairs)
    return {"brief": f"Write a short report on {state.topic}, from these notes:\n\n{notes}"}


def revise(state: Research) -> dict[str, str]:
    """Tell the writer what the critic said."""
    assert state.critique is not None
    cure = CURES[state.critique.verdict]
    return {"brief": f"{cure} This is the report:\n\n{state.report}"}


ask = planner.as_node("plan_questions", input="topic", into="plan")
answer = map(answerer, over="questions", into="answers", name="answer", concurrency=4)
write = writer.as_node("write", input="brief", into="report", limit=DRAFTS)
criticize = critic.as_node("criticize", input="report", into="critique")

graph = Graph(
    "research",
    Research,
    {
        START: ask,
        ask: split,
        split: answer,
        answer: join,
        join: write,
        write: {"done": criticize, "limit": END},
        criticize: [when("critique.verdict", "==", "good", END), otherwise(revise)],
        revise: write,
    },
    takes="topic",
    gives="report",
)
