"""Decisions about graphs, on random ones: each is checked against a definition that is plain but slow."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermetic import hashing
from hermetic.derivation import graph as graph_of
from hermetic.derivation.value import Build, Derivation, Fetch, Unpack, build_key, derivation_id, inputs_of
from tests.support.examples import examples

Graph = dict[str, Derivation]


def build(name: str, inputs: list[str]) -> Build:
    """A build with the given inputs, and nothing else of note."""
    mounts = {f"/hermetic/x/{i}": i for i in inputs}
    return Build(name, "1", "x86_64-linux-musl", "x86-64", f"/hermetic/x/{name}", {}, mounts, {}, {}, "true")


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Any directed graph without cycles: each node has inputs among the earlier ones."""
    size = draw(st.integers(1, 12))
    names = [f"n{i}" for i in draw(st.permutations(range(size)))]
    graph: Graph = {}
    for number, name in enumerate(names):
        if number == 0 or (draw(st.booleans()) and draw(st.booleans())):
            graph[name] = Fetch(name, "1", "", "", draw(st.integers(0, 100)))
        else:
            graph[name] = build(
                name, draw(st.lists(st.sampled_from(names[:number]), unique=True, max_size=4))
            )
    shuffled = draw(st.permutations(list(graph)))
    return {name: graph[name] for name in shuffled}


def below(graph: Graph, root: str) -> set[str]:
    """All that a node needs, itself included: the definition."""
    return {root}.union(*(below(graph, i) for i in inputs_of(graph[root])))


graphs_and_roots = graphs().flatmap(
    lambda graph: st.tuples(st.just(graph), st.lists(st.sampled_from(sorted(graph)), min_size=1, max_size=4))
)
graphs_roots_and_done = graphs_and_roots.flatmap(
    lambda pair: st.tuples(st.just(pair[0]), st.just(pair[1]), st.sets(st.sampled_from(sorted(pair[0]))))
)


@given(graphs_and_roots)
def test_a_closure_is_complete_has_no_doubles_and_has_inputs_first(case: tuple[Graph, list[str]]) -> None:
    graph, roots = case
    order = graph_of.closure(graph, roots)
    assert set(order) == set().union(*(below(graph, r) for r in roots))
    assert len(order) == len(set(order))
    place = {name: number for number, name in enumerate(order)}
    assert all(place[i] < place[name] for name in order for i in inputs_of(graph[name]))


@given(graphs_roots_and_done)
def test_pending_is_what_can_be_reached_through_what_is_not_done(
    case: tuple[Graph, list[str], set[str]],
) -> None:
    graph, roots, done = case
    asked: list[str] = []

    def is_done(name: str) -> bool:
        asked.append(name)
        return name in done

    todo = graph_of.pending(graph, roots, is_done)

    def reached(name: str) -> set[str]:
        return set() if name in done else {name}.union(*(reached(i) for i in inputs_of(graph[name])))

    assert set(todo) == set().union(*(reached(r) for r in roots))
    assert not set(todo) & done
    place = {name: number for number, name in enumerate(todo)}
    assert all(place[i] < place[n] for n in todo for i in inputs_of(graph[n]) if i in place)
    # Whatever stands below something that is done is not even looked at.
    assert set(asked) <= set(todo) | {i for n in todo for i in inputs_of(graph[n])} | set(roots)


@given(graphs_roots_and_done, st.data())
def test_what_is_offered_is_pending_but_nothing_that_only_it_needs(
    case: tuple[Graph, list[str], set[str]], data: st.DataObject
) -> None:
    graph, roots, done = case
    offers = data.draw(st.sets(st.sampled_from(sorted(graph))))
    asked: list[str] = []

    def offered(names: list[str]) -> set[str]:
        asked.extend(names)
        return offers.intersection(names)

    todo = graph_of.pending(graph, roots, done.__contains__, offered)

    def reached(name: str) -> set[str]:
        below = () if name in offers else inputs_of(graph[name])
        return set() if name in done else {name}.union(*(reached(i) for i in below))

    assert set(todo) == set(asked) == set().union(*(reached(r) for r in roots))
    assert len(asked) == len(set(asked))


@given(graphs())
def test_referrers_are_inputs_the_other_way_round(graph: Graph) -> None:
    uses = graph_of.referrers(graph)
    assert {(a, b) for a, above in uses.items() for b in above} == {
        (i, name) for name in graph for i in inputs_of(graph[name])
    }


@given(graphs().flatmap(lambda g: st.tuples(st.just(g), *[st.sampled_from(sorted(g))] * 2)))
def test_a_path_is_a_chain_of_inputs_and_none_is_shorter(case: tuple[Graph, str, str]) -> None:
    graph, start, end = case
    path = graph_of.path_between(graph, start, end)
    layers = [{start}]
    while layers[-1]:
        layers.append({i for n in layers[-1] for i in inputs_of(graph[n])})
    shortest = next((n for n, layer in enumerate(layers) if end in layer), None)
    if path is None:
        assert shortest is None
    else:
        assert (path[0], path[-1], len(path) - 1) == (start, end, shortest)
        assert all(b in inputs_of(graph[a]) for a, b in itertools.pairwise(path))


@given(graphs_and_roots)
def test_what_needs_something_is_never_more_urgent(case: tuple[Graph, list[str]]) -> None:
    graph, roots = case
    todo = graph_of.closure(graph, roots)
    urgency = graph_of.urgency(graph, todo)
    assert set(urgency) == set(todo)
    assert all(urgency[i] >= urgency[n] for n in todo for i in inputs_of(graph[n]))


def test_graphs_may_be_deeper_than_pythons_stack() -> None:
    graph: Graph = {"n0": Fetch("n0", "1", "", "", 1)}
    for number in range(1, 5000):
        graph[f"n{number}"] = build(f"n{number}", [f"n{number - 1}"])
    assert len(graph_of.closure(graph, ["n4999"])) == 5000
    assert len(graph_of.pending(graph, ["n4999"], lambda name: False)) == 5000
    assert len(graph_of.path_between(graph, "n4999", "n0") or []) == 5000


# -- the canonical encoding, and the two keys

leaves = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=20)
records = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)


def reordered(value: Any) -> Any:
    """The same value, its dicts made in the other order."""
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(value)}
    return [reordered(item) for item in value] if isinstance(value, list) else value


@given(graphs())
def test_direct_inputs_bring_all_the_others_along(graph: Graph) -> None:
    inputs = sorted(graph)
    chosen = graph_of.direct(graph, inputs)
    assert set(graph_of.closure(graph, chosen)) == set(graph_of.closure(graph, inputs))
    for one in chosen:
        assert one not in graph_of.closure(graph, [other for other in chosen if other != one])


@given(records)
def test_one_value_has_one_encoding_which_is_sorted_json_without_white_space(value: Any) -> None:
    encoded = hashing.canonical(value)
    assert encoded == hashing.canonical(reordered(value))
    assert json.loads(encoded) == value
    assert hashing.canonical(json.loads(encoded)) == encoded


@given(records, records)
def test_two_values_have_two_encodings(one: Any, other: Any) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (hashing.canonical(one) == hashing.canonical(other)) == same


@pytest.mark.parametrize("value", [1.0, [0.5], {"a": 1e9}, {1: "a"}, b"bytes", {"a": {1, 2}}, float("nan")])
def test_what_has_no_one_encoding_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        hashing.canonical(value)


@given(st.binary(max_size=64))
def test_a_digest_is_52_characters_that_any_file_system_can_hold(data: bytes) -> None:
    text = hashing.digest(hashing.TREE, data)
    assert len(text) == hashing.DIGEST_CHARS
    assert set(text) <= set("abcdefghijklmnopqrstuvwxyz234567")
    domains = (hashing.DERIVATION, hashing.BUILD_KEY, hashing.TREE, hashing.EVALUATION)
    assert len({hashing.digest(domain, data) for domain in domains}) == 4


@given(st.permutations(["a", "b", "c", "d"]), st.permutations(["x", "y"]))
@examples(20)
def test_the_order_in_which_inputs_were_put_is_in_no_key(inputs: list[str], sources: list[str]) -> None:
    first, other = build("n", sorted(inputs)), build("n", inputs)
    assert derivation_id(first) == derivation_id(other)
    assert build_key(first, str.upper) == build_key(other, str.upper)


def test_the_build_key_knows_inputs_by_their_content_alone() -> None:
    one, other = build("n", ["a"]), Unpack("n", "1", "a")
    for drv in (one, other):
        assert build_key(drv, lambda name: "same") == build_key(drv, lambda name: "same")
        assert build_key(drv, lambda name: "same") != build_key(drv, lambda name: "another")
    moved = build("n", [])
    for changed in (moved, build("m", ["a"])):
        assert derivation_id(changed) != derivation_id(one)
