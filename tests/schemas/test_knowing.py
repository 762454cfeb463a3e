"""Tables of the user's own stages: known until a block ends, and to the thread that entered it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from schemas import TABLES, custom, custom_tables, for_threads, knowing

ONE = custom.declared("one", {"score": "double"}, {}, {}, "one")
TWO = custom.declared("two", {"score": "double"}, {}, {}, "two")


def test_a_table_and_its_scores_are_known_until_the_block_ends() -> None:
    before = dict(TABLES)
    with knowing([ONE]), knowing([TWO]):
        assert {*TABLES} == {*before, "one", "two"}
        assert {"one_score", "two_score"} < {*TABLES["verdicts"].schema.names}
        assert custom_tables() == [ONE, TWO]
    assert dict(TABLES) == before


def test_threads_whose_blocks_overlap_know_their_own_tables_alone() -> None:
    before, step = dict(TABLES), Barrier(2, timeout=20)

    def first() -> set[str]:
        with knowing([ONE]):
            step.wait()  # the other one enters
            step.wait()
            names = {*TABLES}
        step.wait()  # the other one still is in
        return names

    def second() -> set[str]:
        step.wait()
        with knowing([TWO]):
            step.wait()
            step.wait()
            return {*TABLES}

    with ThreadPoolExecutor(2) as pool:
        [one, two] = [pool.submit(work) for work in (first, second)]
        assert (one.result(), two.result()) == ({*before, "one"}, {*before, "two"})
    assert dict(TABLES) == before


def test_work_for_other_threads_takes_the_tables_along() -> None:
    def is_known(name: str) -> bool:
        return name in TABLES

    with knowing([ONE]), ThreadPoolExecutor(4) as pool:
        assert [*pool.map(for_threads(is_known), ["one", "two"] * 8)] == [True, False] * 8
