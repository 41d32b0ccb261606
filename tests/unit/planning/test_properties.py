"""Whatever the sets are: nothing that a reachable replica could give is lost, or nobody is promoted."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from services.planning.candidates import Candidate, PromotionPolicy, assess
from services.planning.plan import Plan, Refusal, StepKind
from services.topology.gtid import GtidSet
from services.topology.instance import Instance
from services.topology.keys import InstanceKey
from services.topology.transactions import TransactionSet
from tests.unit.planning.stories import UUIDS, decide, key, master, replica

_NAMES = ("a", "b", "c", "d")


@st.composite
def gtid_sets(draw: st.DrawFn, sources: str = "mxabcd") -> str:
    pieces = []
    for name in sources:
        numbers = draw(st.sets(st.integers(1, 6), max_size=6))
        if numbers:
            pieces.append(f"{UUIDS[name]}:" + ":".join(str(number) for number in sorted(numbers)))
    return str(GtidSet.parse(",".join(pieces)))


@st.composite
def replicas(draw: st.DrawFn) -> tuple[Instance, ...]:
    found = []
    for name in draw(st.lists(st.sampled_from(_NAMES), min_size=1, max_size=4, unique=True)):
        executed = draw(gtid_sets("mx" + name))
        purged = GtidSet.parse(executed) & GtidSet.parse(draw(gtid_sets("mx" + name)))
        found.append(
            replica(
                name,
                executed_gtid_set=executed,
                retrieved_gtid_set=draw(gtid_sets("mx")),
                gtid_purged=str(purged) if draw(st.integers(0, 3)) == 0 else "",
                promotion_rule=draw(st.sampled_from(("must", "prefer", "neutral", "prefer_not", "must_not"))),
                log_replica_updates_enabled=draw(st.integers(0, 9)) > 0,
                version=draw(st.sampled_from(("9.7.0", "9.7.0", "8.4.3"))),
            )
        )
    return tuple(found)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Instance, tuple[Instance, ...], PromotionPolicy]:
    reachable = draw(replicas())
    undrainable = draw(st.sets(st.sampled_from(_NAMES), max_size=2))
    failed = master(executed_gtid_set=draw(gtid_sets("mx")))
    return failed, reachable, PromotionPolicy(undrainable=frozenset(key(name) for name in undrainable))


def _ends_with(plan: Plan, candidates: dict[InstanceKey, Candidate]) -> TransactionSet:
    """What the candidate has when it is opened, if each step does what it says and nothing more."""
    has = candidates[plan.candidate].executed
    for step in plan.steps:
        if step.kind is StepKind.DRAIN and step.instance == plan.candidate:
            has = has | GtidSet.parse(step.gtid_set)
        if step.kind is StepKind.COVER:
            holder = candidates[step.source]
            drained = any(s.kind is StepKind.DRAIN and s.instance == step.source for s in plan.steps)
            gives = holder.executed | holder.retrieved if drained else holder.executed
            assert GtidSet.parse(step.gtid_set) <= gives, "it waits for what its source does not have"
            assert holder.purged <= has, "its source would answer with error 1236"
            has = has | GtidSet.parse(step.gtid_set)
    return has


@given(worlds())
@settings(max_examples=150, deadline=None)
def test_a_plan_ends_with_all_that_any_reachable_replica_holds(
    world: tuple[Instance, tuple[Instance, ...], PromotionPolicy],
) -> None:
    failed, reachable, policy = world
    decided = decide(failed, *reachable, policy=policy)
    candidates = {candidate.key: candidate for candidate in assess(failed, reachable, policy)}
    if isinstance(decided, Refusal):
        assert decided.reason
        return
    has = _ends_with(decided, candidates)
    for candidate in candidates.values():
        assert candidate.holds <= has, f"{candidate.key} holds more than the promoted one will have"
        assert candidate.gives <= has
    dialled = next(step for step in decided.steps if step.kind is StepKind.DIAL_OLD_MASTER)
    assert GtidSet.parse(dialled.gtid_set) <= has, (
        "the old master's own transactions would be taken for known"
    )
    assert not candidates[decided.candidate].bans


@given(worlds())
@settings(max_examples=60, deadline=None)
def test_everybody_is_ranked_and_everybody_is_dealt_with(
    world: tuple[Instance, tuple[Instance, ...], PromotionPolicy],
) -> None:
    failed, reachable, policy = world
    decided = decide(failed, *reachable, policy=policy)
    assert {ranked.key for ranked in decided.ranking} == {found.key for found in reachable}
    assert all(ranked.reasons for ranked in decided.ranking)
    if isinstance(decided, Plan):
        repointed = {step.instance for step in decided.steps if step.kind is StepKind.REPOINT}
        assert repointed | {decided.candidate} == {found.key for found in reachable}
        assert len({step.number for step in decided.steps}) == len(decided.steps)
        assert [step.stage for step in decided.steps] == sorted(step.stage for step in decided.steps)


@given(worlds(), st.randoms())
@settings(max_examples=40, deadline=None)
def test_the_decision_does_not_depend_on_the_order_of_the_replicas(
    world: tuple[Instance, tuple[Instance, ...], PromotionPolicy], random: object
) -> None:
    failed, reachable, policy = world
    shuffled = list(reachable)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = decide(failed, *reachable, policy=policy), decide(failed, *shuffled, policy=policy)
    assert one.ranking == other.ranking
    assert isinstance(one, Plan) == isinstance(other, Plan)
    if isinstance(one, Plan) and isinstance(other, Plan):
        assert one.candidate == other.candidate


@given(st.lists(st.tuples(gtid_sets("mx"), gtid_sets("mx")), min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_sound_replicas_are_never_refused(sets: list[tuple[str, str]]) -> None:
    sound = [
        replica(name, executed_gtid_set=executed, retrieved_gtid_set=retrieved)
        for name, (executed, retrieved) in zip(_NAMES, sets, strict=False)
    ]
    assert isinstance(decide(master(), *sound), Plan)
