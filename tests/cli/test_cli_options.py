"""Options mean the same in every command, and are looked at before anything else is."""

from __future__ import annotations

import pytest
from cli_process import Cli

WRONG = [
    (("run", "nope.py", "x", "--limit", "none"), "--limit 'none': write name=value"),
    (("run", "nope.py", "x", "--limit", "max_turns=nan"), "the value is a number, 0 or more, or none"),
    (("run", "nope.py", "x", "--limit", "max_turns=-1"), "the value is a number, 0 or more, or none"),
    (("run", "nope.py", "x", "--limit", "max_turns=true"), "the value is a number, 0 or more, or none"),
    (("run", "nope.py", "x", "--limit", "exponential_backoff=2"), "the value is true or false"),
    (("run", "nope.py", "x", "--max-turns", "-1"), "Invalid value for '--max-turns'"),
    (("resume", "nobody", "--limit", "none"), "--limit 'none': write name=value"),
    (("resume", "nobody", "--max-turns", "two"), "Invalid value for '--max-turns'"),
    (("resume", "--all-abandoned", "--limit", "none"), "--limit 'none': write name=value"),
    (("resume", "--all-due", "--limit", "max_turns=many"), "the value is a number, 0 or more, or none"),
    (("resume", "--all-due", "--limit", "1", "--limit", "2"), "say once how many runs"),
    (("runs", "--limit", "0"), "Invalid value for '--limit'"),
    (("runs", "--after", "there"), "give the `after` of an earlier page"),
    (("verify", "--limit", "0"), "Invalid value for '--limit'"),
    (("verify", "--after", "x"), "give the `after` of an earlier page"),
    (("prune", "--older-than", "soon"), "give a number and a unit"),
    (("prune", "--older-than", "9" * 30 + "w"), "no run is older than"),
    (("faults", "nope.py", "--kills", "0"), "Invalid value for '--kills'"),
    (("faults", "nope.py", "--store", "mysql"), "give 'sqlite' or 'postgresql://…'"),
    (("graph", "nope.py", "--prove", "bounded max_turns=x"), "is no claim; claims are"),
    (("graph", "nope.py", "--prove", "never_reaches a from"), "is no claim; claims are"),
]


@pytest.mark.parametrize(("words", "told"), WRONG, ids=[" ".join(words) for words, _ in WRONG])
def test_options_that_cant_be_are_refused_before_anything_is_looked_up(cli: Cli, words: tuple[str, ...], told: str):
    assert told in cli.run(*words, code=2)
    assert list(cli.folder.iterdir()) == []


def test_a_model_that_is_named_is_every_agents_whoever_runs_it(cli: Cli):
    crew = cli.file("crew")
    assert cli.json("run", crew, "{}")["output"] == ["the app's", "nothing", "its own", "its own", "inner"]
    named = cli.json("run", crew, "{}", "--model", "said/this")
    assert named["output"] == ["the app's", "this", "this", "this", "this"]
    assert cli.json("run", f"{crew}:own", "x", "--model", "said/this")["output"] == "this"


def test_a_model_that_nobody_would_use_or_that_nobody_knows_is_refused_before_the_run_begins(cli: Cli):
    counter, crew = cli.file("counter"), cli.file("crew")
    assert "--model: there's no agent in graph 'counter', nor in counter.py" in cli.run(
        "run", counter, "{}", "--model", "said/x", code=2
    )
    assert "There is no provider for the model 'unsaid/x'" in cli.run("run", crew, "{}", "--model", "unsaid/x", code=2)
    assert not (cli.folder / ".flowcore").exists()
