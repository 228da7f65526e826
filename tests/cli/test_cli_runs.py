"""A run's life on the command line: begun, looked at, decided, gone on with, and what is said on the way."""

from __future__ import annotations

import json

from cli_process import Cli


def test_a_run_that_needs_approval_waits_is_approved_and_goes_on_in_another_process(cold_cli: Cli):
    cli = cold_cli
    clerk = cli.file("clerk")
    begun = cli.run("run", clerk, "refund me", "--run-id", "order-17", "--no-input", code=3, script="refund")
    assert begun.startswith("run order-17 ")
    assert "call_model ─ tool_calls → run_tools" in begun
    assert "→ refund(order=1, cents=250)" in begun
    assert "look_up: order 1: a vase" in begun
    assert "flowcore approve order-17 call_1_1" in begun
    assert f"flowcore resume order-17 {clerk}" in begun

    listed = cli.run("runs")
    assert "order-17" in listed
    assert "waiting" in listed
    assert "approve refund" in listed
    shown = cli.run("show", "order")
    assert "await_decision.1" in shown
    assert '"cents": 250' in shown

    approved = cli.run("approve", "order-17")
    assert "answered call_1_1" in approved
    assert "go on with: flowcore resume order-17" in approved
    again = cli.run("approve", "order-17", code=2)
    assert "nothing is asked; open are: none" in again

    ended = cli.run("resume", "order-17", clerk, script="refund")
    assert "← refund: paid 250 for 1" in ended
    assert "\nYour money is on its way.\n" in ended
    assert "await_decision -> run_tools -> call_model -> output_guardrails -> finalize -> END" in ended
    assert "run order-17 · done · 2 turns · 30 tokens" in ended
    assert sorted(cli.calls("end")) == ["order-17/run_tools.1/0:call_1_0", "order-17/run_tools.1/1:call_1_1"]
    assert cli.calls("start") == cli.calls("end")
    assert cli.show("order-17")["standing"] == "done"
    assert "there is nothing to resume" in cli.run("resume", "order-17", clerk, code=2)


def test_a_rejected_call_isnt_made_and_the_model_reads_why(cli: Cli):
    clerk = cli.file("clerk")
    cli.run("run", clerk, "x", "--run-id", "r", "--no-input", code=3, script="refund")
    assert "answered call_1_1" in cli.run("reject", "r", "call_1_1", "--message", "not before Monday")
    ended = cli.run("resume", "r", clerk, script="refund")
    assert "← refund: not before Monday" in ended
    assert "Your money is on its way." in ended  # whatever the script says
    assert [key for key in cli.calls("start") if "call_1_1" in key] == []


def test_of_several_calls_one_has_to_be_named_or_all(cli: Cli):
    clerk = cli.file("clerk")
    cli.run("run", clerk, "x", "--run-id", "r", "--no-input", code=3, script="two")
    assert "asks 2 things; name one: call_1_0 (approve refund), call_1_1" in cli.run("approve", "r", code=2)
    missed = cli.run("approve", "r", "call_9", code=2)
    assert "request 'call_9' isn't open, or answered already; open are: call_1_0" in missed
    assert "answered call_1_1" in cli.run("approve", "r", "--all")
    assert "Both are paid." in cli.run("resume", "r", clerk, script="two")
    assert len(cli.calls("end")) == 2


def test_with_yes_a_run_asks_nobody(cli: Cli):
    out, err = cli.both("run", cli.file("clerk"), "x", "--yes", "--quiet", script="two")
    assert (out, err) == ("Both are paid.\n", "")


def test_a_quiet_run_that_waits_says_on_stderr_how_to_go_on(cli: Cli):
    out, err = cli.both("run", cli.file("clerk"), "x", "--run-id", "r", "--quiet", code=3, script="refund")
    assert out == ""
    assert "flowcore approve r call_1_1" in err


def test_json_is_one_object_on_stdout_whatever_comes_of_the_run(cli: Cli):
    clerk = cli.file("clerk")
    waiting = cli.json("run", clerk, "x", "--run-id", "r", code=3, script="refund")
    assert waiting["status"] == "waiting"
    assert waiting["requests"][0]["data"]["tool"] == "refund"
    assert cli.json("runs")["runs"][0]["waiting"] == 1
    cli.run("approve", "r")
    done = cli.json("resume", "r", clerk, script="refund")
    assert done["output"] == "Your money is on its way."
    assert done["path"][0] == "prepare"
    assert done["path"][-1] == "END"
    assert done["usage"]["total_tokens"] == 30
    shown = json.loads(cli.both("show", "r", clerk, "--json", "--facts", script="refund")[0])
    assert shown["output"] == "Your money is on its way."
    assert [fact["seq"] for fact in shown["facts"]] == list(range(len(shown["facts"])))
    assert cli.json("runs", "--status", "failed") == {"runs": [], "after": None}


def test_a_graph_that_takes_a_dict_is_given_json_and_what_context_returns(cli: Cli):
    counter = cli.file("counter")
    begun = cli.run("run", counter, '{"upto": 5}', "--run-id", "r", "--no-input", code=3)
    assert "count -> count x2" not in begun
    assert "count x3 -> sure" in begun
    assert "'three' is not of type 'integer'" in cli.run("answer", "r", "how-many", "three", code=2)
    assert "answered how-many" in cli.run("answer", "r", "how-many", "3")
    ended = cli.json("resume", "r", counter)
    assert ended["output"] == {"seen": [2, 4, 6], "answers": {"how-many": 3}}
    assert "upto" in cli.run("run", counter, '{"up": 5}', code=2)
    assert "JSON object" in cli.run("run", counter, "five", code=2)


def test_a_failed_run_says_where_and_how_to_go_on(cli: Cli):
    counter = cli.file("counter")
    cli.write("broken.txt", "")
    failed = cli.run("run", counter, '{"upto": 1}', "--run-id", "r", code=1)
    assert "failed at 'count': ValueError: can't count to 2" in failed
    assert "counter.py:23 in count" in failed
    assert "go on with: flowcore resume r counter.py" in failed
    (cli.folder / "broken.txt").unlink()
    cli.run("resume", "r", counter, "--no-input", code=3)
    assert "(failed)" in cli.run("show", "r")


def test_a_limit_is_raised_by_a_resume(cli: Cli):
    clerk = cli.file("clerk")
    failed = cli.run("run", clerk, "x", "--run-id", "r", "--max-turns", "1", code=1)
    assert "Max turns (1) exceeded" in failed
    assert "--max-turns N" in failed
    assert "It's a vase." in cli.run("resume", "r", clerk, "--max-turns", "2")
    assert "knows the limits" in cli.run("run", clerk, "x", "--limit", "max_turnz=1", code=2)


def test_runs_are_listed_page_by_page_and_found_by_the_beginning_of_their_id(cli: Cli):
    clerk = cli.file("clerk")
    for name in ("alpha-1", "alpha-2", "beta"):
        cli.run("run", clerk, "x", "--run-id", name, "--quiet")
    first = cli.json("runs", "--limit", "2")
    assert [row["run"] for row in first["runs"]] == ["beta", "alpha-2"]
    rest = cli.json("runs", "--limit", "2", "--after", first["after"])
    assert [row["run"] for row in rest["runs"]] == ["alpha-1"]
    assert cli.show("b")["run"] == "beta"
    assert "2 runs' ids begin with 'alpha': alpha-1, alpha-2" in cli.run("show", "alpha", code=2)
    assert "no run's id begins with 'gamma'" in cli.run("show", "gamma", code=2)


def test_a_walk_is_drawn_with_what_was_visited_and_how_often(cli: Cli):
    cli.run("run", cli.file("counter"), '{"upto": 5}', "--run-id", "r", "--no-input", code=3)
    drawn = cli.run("show", "r", "--mermaid")
    assert drawn.startswith("stateDiagram-v2\n")
    assert "count --> count : more ×2\n" in drawn
    assert 'state "waiting at sure"' in drawn
    assert "finish" not in drawn
    assert "finish" in cli.run("show", "r", "counter.py", "--mermaid")


def test_a_resume_finds_the_graph_among_the_projects_files(cli: Cli):
    clerk = cli.file("clerk")
    cli.run("run", clerk, "x", "--run-id", "r", "--no-input", code=3, script="refund")
    cli.run("approve", "r")
    assert "no pyproject.toml here" in cli.run("resume", "r", code=2)
    cli.write("pyproject.toml", '[tool.flowcore]\ngraphs = ["elsewhere/*.py"]\n')
    assert "matches no file" in cli.run("resume", "r", code=2)
    cli.write("pyproject.toml", '[tool.flowcore]\ngraphs = ["*.py"]\n')
    cli.file("counter")
    cli.write("wrong.py", "raise ValueError('not today')  # clerk\n")
    (cli.folder / clerk).rename(cli.folder / "clerk.txt")
    none = cli.run("resume", "r", code=2)
    assert "needs graph 'clerk', which isn't here; the graphs found are: " in none
    assert "'counter' (counter.py:counter)" in none
    assert "wrong.py (it can't be loaded: wrong.py:1: ValueError: not today)" in none
    text = (cli.folder / "clerk.txt").read_text()
    cli.write("desk.py", text.replace("refund, slow, stubborn]", "refund, slow]").replace('"stubborn": [', '"s": ['))
    ended = cli.run("resume", "r", script="refund")
    assert "warning: graph 'clerk' of desk.py:graph has changed since the run began" in ended
    assert "Your money is on its way." in ended


def test_a_store_may_be_named_by_option_or_environment(cli: Cli):
    clerk = cli.file("clerk")
    begun = cli.run("run", clerk, "x", "--run-id", "r", "--store", "other.db", "--no-input", code=3, script="refund")
    assert "flowcore approve r call_1_1 --store other.db" in begun
    assert cli.json("runs") == {"runs": [], "after": None}
    assert not (cli.folder / ".flowcore").exists()
    assert "answered" in cli.run("approve", "r", env={"FLOWCORE_STORE": "sqlite:///other.db"})


def test_what_steers_a_terminal_is_shown_and_not_obeyed(cli: Cli):
    text = (
        "from flowcore import Agent\nfrom flowcore.testing import ScriptedModel\n"
        'graph = Agent(name="a", model=ScriptedModel(["\\x1b[2Jhidden\\u202etxt"]))\n'
    )
    out = cli.run("run", cli.write("evil.py", text), "x")
    assert "\x1b" not in out
    assert "\\x1b[2Jhidden\\u202etxt" in out
