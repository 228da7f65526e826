"""The rules of random histories: calls to two handles on one store, compared with a model of dicts. It needs
hypothesis."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from flowcore.errors import RunConflict, RunExists, RunNotFound
from flowcore.machine.facts import Fact
from flowcore.stores.base import Append, Claim, Letter, SessionWrite, Store
from flowcore.testing.store_suite.cases import Cases, made
from flowcore.testing.store_suite.making import begin, fork_of, member, move, owner, question, row

ROOTS = ["a", "b", "f", "g"]
RUNS = [*ROOTS, *(f"{root}/n.1/k" for root in ROOTS)]
KEYS = ["p", "q"]
OWNERS = [owner("zero"), owner("one")]

roots = st.sampled_from(ROOTS)
runs = st.sampled_from(RUNS)
keys = st.sampled_from(KEYS)
which = st.sampled_from([0, 1])


@dataclass
class Tree:
    """What the model knows of a tree. ``base``: the tree that its root shares facts with, and the last one shared."""

    owner: int | None
    epoch: int
    standing: str = "running"
    facts: dict[str, list[Fact]] = field(default_factory=dict)
    base: tuple[Tree, int] | None = None
    requests: set[tuple[str, str]] = field(default_factory=set)
    letters: list[Letter] = field(default_factory=list)


class Stores(RuleBasedStateMachine):
    """The rules, for two handles on a new store of ``cases``."""

    def __init__(self, cases: Cases) -> None:
        super().__init__()
        self.cases = cases
        self.folder = Path(tempfile.mkdtemp())
        self.runner = asyncio.Runner()
        first = self.make()
        self.stores = [first, self.make() if cases.processes else first]
        self.trees: dict[str, Tree] = {}
        self.deleted: list[tuple[str, Tree]] = []
        self.claims: dict[tuple[str, int], Claim] = {}
        self.session: list[Any] = []
        self.count = 0

    def make(self) -> Store:
        """A handle on the store."""
        return self.runner.run(made(self.cases, self.folder))

    def teardown(self) -> None:
        for store in self.stores:
            self.runner.run(store.close())
        self.runner.close()
        shutil.rmtree(self.folder)

    def ask(self, call: Any) -> Any:
        """The call's answer, or the class of what it raised."""
        try:
            return self.runner.run(call)
        except (RunConflict, RunExists, RunNotFound) as error:
            return type(error)

    @rule(run=roots, who=which)
    def admit(self, run: str, who: int) -> None:
        answer = self.ask(self.stores[who].admit(begin(run), OWNERS[who]))
        if run in self.trees or self.kept(run):
            assert answer is RunExists
        else:
            assert (answer.epoch, answer.head) == (1, 0)
            self.trees[run] = Tree(who, 1, facts={run: list(begin(run).facts)})
            self.claims[run, who] = answer

    @rule(run=roots, base=roots, seq=st.integers(0, 4), who=which)
    def fork(self, run: str, base: str, seq: int, who: int) -> None:
        one = fork_of(run, base, seq)
        answer = self.ask(self.stores[who].admit(one, OWNERS[who]))
        tree = self.trees.get(base)
        if run in self.trees or self.kept(run):
            assert answer in (RunExists, RunNotFound, RunConflict)
        elif tree is None:
            assert answer is RunNotFound
        elif seq >= len(tree.facts[base]):
            assert answer is RunConflict
        else:
            assert (answer.epoch, answer.head) == (1, seq + 1)
            self.trees[run] = Tree(who, 1, facts={run: [*tree.facts[base][: seq + 1], *one.facts]}, base=(tree, seq))
            self.claims[run, who] = answer

    @rule(run=roots, who=which)
    def delete(self, run: str, who: int) -> None:
        answer = self.ask(self.stores[who].delete(run))
        tree = self.trees.get(run)
        if tree is None:
            assert answer is RunNotFound
        elif tree.owner is not None:
            assert answer is RunConflict
        else:
            assert answer is None
            self.forget(run)

    @rule(who=which)
    def prune(self, who: int) -> None:
        gone = [index.run for index in self.ask(self.stores[who].abandoned()).runs]
        old = sorted(run for run, tree in self.trees.items() if tree.owner is None)
        assert set(gone) == {run for run in old if self.trees[run].standing == "running"}
        assert self.ask(self.stores[who].prune(0, ["running", "waiting"])) == old
        for run in old:
            self.forget(run)

    def forget(self, run: str) -> None:
        self.deleted.append((run, self.trees.pop(run)))
        for who in (0, 1):
            self.claims.pop((run, who), None)

    def needed(self) -> dict[int, int]:
        """By tree, up to which fact the living forks of it need it."""
        found: dict[int, int] = {}
        for tree in self.trees.values():
            upto, base = 1 << 30, tree.base
            while base is not None:
                upto = min(upto, base[1])
                found[id(base[0])] = max(found.get(id(base[0]), 0), upto)
                base = base[0].base
        return found

    def kept(self, run: str) -> bool:
        needed = self.needed()
        return any(root == run and id(tree) in needed for root, tree in self.deleted)

    def rows(self) -> int:
        """How many facts the store should keep."""
        count, needed = 0, self.needed()
        for tree in self.trees.values():
            count += sum(map(len, tree.facts.values())) - (0 if tree.base is None else tree.base[1] + 1)
        for root, tree in self.deleted:
            own = range(0 if tree.base is None else tree.base[1] + 1, len(tree.facts[root]))
            count += sum(seq <= needed.get(id(tree), -1) for seq in own)
        return count

    @rule(run=roots, who=which)
    def claim(self, run: str, who: int) -> None:
        answer = self.ask(self.stores[who].claim(run, OWNERS[who]))
        tree = self.trees.get(run)
        if tree is None:
            assert answer is RunNotFound
        elif tree.owner is not None:
            assert answer is RunConflict
        else:
            tree.owner, tree.epoch = who, tree.epoch + 1
            assert (answer.epoch, answer.head) == (tree.epoch, len(tree.facts[run]) - 1)
            self.claims[run, who] = answer

    @rule(run=roots, who=which, known=st.integers(0, 2))
    def release(self, run: str, who: int, known: int) -> None:
        claim = self.claims.get((run, who))
        if claim is None:
            return
        answer = self.ask(self.stores[who].release(run, claim, known))
        tree = self.trees[run]
        if tree.owner != who or tree.epoch != claim.epoch:
            assert answer is RunConflict
        else:
            assert answer is (len(tree.letters) <= known)
            if answer:
                tree.owner = None

    @rule(data=st.data(), root=roots, who=which)
    def append(self, data: st.DataObject, root: str, who: int) -> None:
        claim = self.claims.get((root, who))
        if claim is None:
            return
        tree = self.trees[root]
        holds = tree.owner == who and tree.epoch == claim.epoch
        batch, expected = [], []
        for run in data.draw(st.lists(st.sampled_from([root, root + "/n.1/k"]), min_size=1, max_size=3)):
            one, right = self.draw_member(data, tree, root, run)
            batch.append(one)
            expected.append(holds and right)
            if expected[-1]:
                self.keep(tree, one)
        answers = self.ask(self.stores[who].append(batch, claim))
        assert [answer is None for answer in answers] == expected
        assert all(answer is None or isinstance(answer, RunConflict) for answer in answers)

    def draw_member(self, data: st.DataObject, tree: Tree, root: str, run: str) -> tuple[Append, bool]:
        """A member and whether it is the journal's next one."""
        length = len(tree.facts.get(run, ()))
        if length == 0 and data.draw(st.booleans()):
            return begin(run, root), True
        # Marked so that nobody takes it for an earlier one that was written: that is tested elsewhere.
        right = length > 0 and data.draw(st.booleans())
        seq = length if right else length + 1
        self.count += 1
        given: dict[str, Any] = {}
        if data.draw(st.booleans()):
            given["opened"] = [question(run, key, root) for key in data.draw(st.sets(keys))]
            given["closed"] = sorted(data.draw(st.sets(keys)))
        if data.draw(st.booleans()):
            given["consumed"] = [letter.id for letter in tree.letters if data.draw(st.booleans())]
        if data.draw(st.booleans()):
            given["writes"] = [SessionWrite("s", seq, [self.count])]
        if data.draw(st.booleans()):
            given["index"] = row(run, root, standing=data.draw(st.sampled_from(["running", "waiting"])))
        facts = [move(seq + more, n=self.count) for more in range(data.draw(st.integers(1, 2)))]
        return member(run, *facts, root=root, **given), right

    def keep(self, tree: Tree, one: Append) -> None:
        tree.facts.setdefault(one.run, []).extend(one.facts)
        tree.requests -= {(one.run, key) for key in one.closed}
        tree.requests |= {(one.run, request.key) for request in one.opened}
        tree.letters = [letter for letter in tree.letters if letter.id not in one.consumed]
        if one.index is not None and one.run == one.root:
            tree.standing = one.index.standing
        for write in one.writes:
            self.session += write.items

    @rule(run=runs, who=which, key=keys, kind=st.sampled_from(["answer", "answer", "stop"]))
    def signal(self, run: str, who: int, key: str, kind: str) -> None:
        self.count += 1
        letter = Letter(run, str(self.count), kind, key if kind == "answer" else None, self.count)
        answer = self.ask(self.stores[who].signal(letter))
        tree = self.trees.get(run[0])
        if tree is None or run not in tree.facts:
            assert answer is RunNotFound
            return
        answered = any((one.run, one.key, one.kind) == (run, key, "answer") for one in tree.letters)
        accepted = kind != "answer" or ((run, key) in tree.requests and not answered)
        assert answer is accepted
        if accepted:
            tree.letters.append(letter)

    @rule(who=which)
    def pop(self, who: int) -> None:
        assert self.ask(self.stores[who].session_pop("s")) == (self.session.pop() if self.session else None)

    @rule(who=which)
    def reopen(self, who: int) -> None:
        """As another process: with a handle of its own, where there may be two."""
        if self.cases.processes:
            self.ask(self.stores[who].close())
            self.stores[who] = self.make()

    @invariant()
    def both_handles_see_what_the_model_holds(self) -> None:
        for who, store in enumerate(self.stores):
            for run in RUNS:
                tree = self.trees.get(run[0])
                facts = self.ask(store.read(run))
                if tree is None or run not in tree.facts:
                    assert facts is RunNotFound
                    continue
                assert facts == tree.facts[run]
                assert self.ask(store.read(run, 2)) == facts[3:]
                assert self.ask(store.get(run)).owner == (None if tree.owner is None else OWNERS[tree.owner].id)
            for root, tree in self.trees.items():
                assert self.ask(store.inbox(root)) == tree.letters
                assert {(one.run, one.key) for one in self.ask(store.requests(root))} == tree.requests
                assert self.ask(store.get(root)).waiting == len(tree.requests)
            lettered = {root for root, tree in self.trees.items() if tree.owner == who and tree.letters}
            assert set(self.ask(store.waiting(OWNERS[who]))) == lettered
            assert {index.run for index in self.ask(store.runs()).runs} == set(self.trees)
            assert [one.item for one in self.ask(store.session_items("s"))] == self.session
        kept = self.ask(self.cases.kept(self.stores[0]))
        assert kept is None or sum(map(len, kept.values())) == self.rows(), "more or less is kept than is needed"


def try_histories(cases: Cases) -> None:
    """Try ``cases.examples`` random histories. Raises AssertionError with the shortest one found that goes wrong."""
    every = settings(
        max_examples=cases.examples, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck),
        database=None,
    )  # fmt: skip
    machine: Any = partial(Stores, cases)
    run_state_machine_as_test(machine, settings=every)
