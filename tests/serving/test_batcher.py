"""Shared batches: the oldest first, prompts once, what nobody wants not at all, and a fault hurts one item."""

from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from threading import Event

import pytest

from basereward.data.outcomes import Failure, Score
from basereward.serving.batcher import Batcher
from basereward.serving.engines import Beginning, ComputedBatch, Prepared, Unit
from basereward.serving.rows import RowEngine
from basereward.serving.settings import ServeSettings


@dataclass
class Asked:
    """An item of one unit for each size; its outcomes are its number and the unit's."""

    number: int
    sizes: tuple[int, ...] = (1,)
    prompt: str | None = None
    added: int = 1


@dataclass
class Stub:
    """Computes nothing, remembers batches, and can be held."""

    cap: int = 10
    batches: list = field(default_factory=list)
    may_go: Event = field(default_factory=Event)
    begun: Event = field(default_factory=Event)
    broken: tuple[int, ...] = ()

    def size(self, item):
        return len(item.sizes)

    def prepare(self, item):
        if item.sizes == (-1,):
            raise ZeroDivisionError
        units = [
            Unit((place,), (item.number, place), size, (Beginning(item.prompt, size - item.added),) * bool(item.prompt))
            for place, size in enumerate(item.sizes)
        ]
        return Prepared(units, {})

    def compute(self, units):
        self.begun.set()
        self.may_go.wait(5)
        self.batches.append([unit.content for unit in units])
        if any(unit.content[0] in self.broken for unit in units):
            raise ZeroDivisionError
        return ComputedBatch([[Score(unit.content[0] + unit.content[1] / 10)] for unit in units], len(units))


@pytest.fixture
def run():
    """``run(engine, company)``: a batcher with one preparing thread, so that items queue in their order."""
    made = []

    def make(engine, company=0.0):
        made.append((engine, Batcher(engine, 1, company=company)))
        return made[-1][1]

    yield make
    for engine, batcher in made:
        engine.may_go.set()
        batcher.stop()


def hold(engine, batcher):
    """Let the batcher compute a first item until ``may_go``, so that the next ones queue."""
    first = batcher.submit(Asked(0))
    assert engine.begun.wait(5)
    return first


def queue(batcher, *items):
    futures = [batcher.submit(item) for item in items]
    # The one preparing thread works in order.
    batcher.pool.submit(lambda: None).result(5)
    return futures


def test_what_waits_goes_together_up_to_the_cap(run):
    engine = Stub()
    batcher = run(engine)
    first = hold(engine, batcher)
    futures = queue(batcher, *(Asked(number, (4,)) for number in range(1, 6)))
    engine.may_go.set()
    assert [own.result(5) for own in (first, *futures)] == [[Score(float(number))] for number in range(6)]
    assert [[number for number, _ in batch] for batch in engine.batches] == [[0], [1, 2], [3, 4], [5]]


def test_younger_ones_of_a_prompt_join_and_nobody_is_overtaken_for_ever(run):
    engine = Stub()
    batcher = run(engine)
    hold(engine, batcher)
    items = [Asked(1, (6,), "p"), Asked(2, (6,)), Asked(3, (6,), "p"), Asked(4, (3,)), Asked(5, (6,), "p")]
    futures = queue(batcher, *items)
    engine.may_go.set()
    for own in futures:
        own.result(5)
    assert [[number for number, _ in batch] for batch in engine.batches] == [[0], [1, 3, 5], [2, 4]]


def test_what_is_being_read_just_then_goes_along(run):
    engine = Stub()
    engine.may_go.set()
    batcher = run(engine, company=5.0)
    with batcher.expect():
        first = batcher.submit(Asked(1, (4,)))
        # Queued, and not begun: more is coming.
        batcher.pool.submit(lambda: None).result(5)
        assert not engine.begun.wait(0.05)
        second = batcher.submit(Asked(2, (4,)))
    assert first.result(5) + second.result(5) == [Score(1.0), Score(2.0)]
    assert [len(batch) for batch in engine.batches] == [2]


def test_a_full_batch_and_a_patient_one_wait_for_nobody(run):
    engine = Stub()
    engine.may_go.set()
    batcher = run(engine, company=60.0)
    with batcher.expect():
        assert batcher.submit(Asked(1, (10,))).result(5) == [Score(1.0)]
    hasty = run(engine, company=0.01)
    with hasty.expect():
        assert hasty.submit(Asked(2)).result(5) == [Score(2.0)]


def test_what_is_larger_than_the_cap_goes_alone(run):
    engine = Stub()
    batcher = run(engine)
    hold(engine, batcher)
    futures = queue(batcher, Asked(1, (40,)), Asked(2))
    engine.may_go.set()
    assert [own.result(5)[0].value for own in futures] == [1.0, 2.0]
    assert [len(batch) for batch in engine.batches] == [1, 1, 1]


def test_units_of_an_item_come_together_again_in_order(run):
    engine = Stub()
    engine.may_go.set()
    found = run(engine).submit(Asked(1, (6, 7, 8))).result(5)
    assert [own.value for own in found] == [1.0, 1.1, 1.2]
    assert len(engine.batches) == 3


def test_an_item_of_nothing_is_answered_at_once(run):
    assert run(Stub()).submit(Asked(1, ())).result(5) == []


def test_what_nobody_wants_is_not_computed(run):
    engine = Stub()
    batcher = run(engine)
    hold(engine, batcher)
    gone, kept, half = queue(batcher, Asked(1, (4,)), Asked(2, (4,)), Asked(3, (9, 9)))
    assert gone.cancel()
    engine.may_go.set()
    assert kept.result(5) == [Score(2.0)]
    half.result(5)
    assert [1, 0] not in [list(content) for batch in engine.batches for content in batch]


def test_a_fault_in_a_batch_is_of_the_item_that_has_it(run):
    engine = Stub(broken=(2,))
    batcher = run(engine)
    first = hold(engine, batcher)
    futures = queue(batcher, *(Asked(number) for number in range(1, 5)))
    engine.may_go.set()
    first.result(5)
    [one, two, three, four] = [own.result(5)[0] for own in futures]
    assert [one, three, four] == [Score(1.0), Score(3.0), Score(4.0)]
    assert isinstance(two, Failure)
    assert two.reason == "internal"


def test_a_fault_in_preparing_is_of_its_item_too(run):
    engine = Stub()
    engine.may_go.set()
    batcher = run(engine)
    [broken, fine] = queue(batcher, Asked(1, (-1,)), Asked(2))
    assert broken.result(5)[0].reason == "internal"
    assert fine.result(5) == [Score(2.0)]


def test_what_is_left_at_the_end_is_cancelled(run):
    engine = Stub()
    batcher = run(engine)
    hold(engine, batcher)
    [left] = queue(batcher, Asked(1))
    # What is being computed ends only after the batcher was told to.
    join = batcher._computing.join
    batcher._computing.join = lambda seconds: (engine.may_go.set(), join(5))
    batcher.stop()
    with pytest.raises(CancelledError):
        left.result(5)
    assert len(engine.batches) == 1


def test_a_row_holds_a_prompt_once_for_all_who_ask_it(new_scorer, make_group, picture, scorer):
    image = picture(84, 84, 7)
    engine = RowEngine(new_scorer(), ServeSettings())
    texts = [f"answer {number}" for number in range(6)]
    whole = make_group("Which?", texts, [image])
    others = [make_group("Another?", ["a", "b"]), make_group("Another?", ["b"])]
    asked = [make_group("Which?", [text], [image]) for text in texts]
    units = [unit for group in (*asked, *others) for unit in engine.prepare(group).units]
    computed = engine.compute(units)
    expected = [[one] for one in scorer.score([whole])[0]] + scorer.score(others)
    for own, other in zip(computed.outcomes, expected, strict=True):
        assert [one.value for one in own] == pytest.approx([one.value for one in other], abs=1e-5)
    # Every distinct beginning of a conversation is computed once, the system prompt of both questions among them.
    encoded = [scorer.model.template.encode(group) for group in (whole, *others)]
    whole_keys = [[*group.keys.tolist(), *suffix.tolist()] for group in encoded for suffix in group.suffixes]
    assert computed.tokens == len({tuple(keys[:end]) for keys in whole_keys for end in range(1, len(keys) + 1)})


def test_merged_rows_stay_under_the_cap(new_scorer, make_group, scorer):
    template = scorer.model.template
    prefix = len(template.encode(make_group("Which?", ["answer 1", "answer 2"])).prefix)
    engine = RowEngine(new_scorer(), ServeSettings(row_tokens=prefix + 30))
    texts = [f"answer {number} of many" for number in range(12)]
    units = [unit for text in texts for unit in engine.prepare(make_group("Which?", [text])).units]
    computed = engine.compute(units)
    found = [own[0].value for own in computed.outcomes]
    assert found == pytest.approx([one.value for one in scorer.score([make_group("Which?", texts)])[0]], abs=1e-5)
    assert computed.tokens > template.encode(make_group("Which?", texts)).tokens
