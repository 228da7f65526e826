"""Agents in a graph: one that names no model, one that has its own, and one that a node's body runs. What `--model
said/WORD` names says WORD."""

from typing import Annotated, Any

from flowcore import END, START, Agent, Context, Graph, Json, ModelProvider, MultiProviderMap, State, append, map
from flowcore.models.provider import default_provider
from flowcore.testing import ScriptedModel


class Said(ModelProvider):
    """Models that say their names."""

    def get_model(self, model_name: str | None) -> ScriptedModel:
        """The model of a word."""
        return ScriptedModel(lambda call: model_name)


default_provider().provider_map = MultiProviderMap({"said": Said()})


class S(State):
    """``said``: by whom what was said."""

    asks: list[str] = ["a", "b"]
    input: str = "x"
    output: str = ""
    answers: list[str] = []
    said: Annotated[list[Json], append] = []


def context() -> str:
    """The app's object."""
    return "the app's"


plain = Agent(name="Plain", model="said/nothing")
own = Agent(name="Own", model=ScriptedModel(lambda call: "its own"))
inner = Agent(name="Inner", model="said/inner")


async def by_hand(state: S, ctx: Context) -> dict[str, Any]:
    """Runs an agent that the table doesn't name."""
    inside = await ctx.child(inner.graph, "x", "inner")
    return {"said": [ctx.context, state.output, *state.answers, inside]}


graph = Graph(
    "crew",
    S,
    {START: plain, plain: map(own, over="asks", into="answers", name="each"), "each": by_hand, by_hand: END},
    gives="said",
)
