"""Steps as they are seen, on a terminal and in a file."""

from __future__ import annotations

import io
import re
from contextlib import suppress

from rich.console import Console

from airflow_batches.demo.screen import Screen


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def console(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=100)


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())


def test_without_a_terminal_every_news_is_a_line_of_its_own() -> None:
    clock, out = Clock(), console(terminal=False)
    with Screen(out, clock=clock) as screen:
        screen.show("Airflow starts")
        clock.now += 2.5
        screen.show("Airflow starts", "database")
        screen.show("Airflow starts", "database")
        clock.now += 1
        screen.show("[bold]DAG[/bold]", "a" * 200)
    assert text(out).splitlines() == [
        "   0.0 s  Airflow starts",
        "   2.5 s  Airflow starts: database",
        f"   3.5 s  [bold]DAG[/bold]: {'a' * 200}",
    ]


def test_on_a_terminal_every_step_is_a_row_with_its_own_time() -> None:
    clock, out = Clock(), console(terminal=True)
    with Screen(out, clock=clock) as screen:
        screen.show("Airflow starts", "database")
        clock.now += 2.5
        screen.show("The DAG runs", "submitted")
        clock.now += 1
    last_rows = [line.split() for line in text(out).splitlines()[-2:]]
    assert last_rows == [
        ["✓", "Airflow", "starts", "database", "2.5", "s"],
        ["✓", "The", "DAG", "runs", "submitted", "1.0", "s"],
    ]


def test_a_step_that_raised_is_marked() -> None:
    out = console(terminal=True)
    with suppress(KeyError), Screen(out) as screen:
        screen.show("The DAG runs")
        raise KeyError
    assert text(out).splitlines()[-1].split()[:2] == ["✗", "The"]


def test_a_step_can_be_said_to_have_failed_by_what_follows() -> None:
    out = console(terminal=True)
    with Screen(out) as screen:
        screen.show("The DAG runs")
        screen.show("Airflow is stopped", failed=True)
    assert [line.split()[0] for line in text(out).splitlines()[-2:]] == ["✗", "✓"]


def test_nothing_is_drawn_any_more_once_it_is_finished() -> None:
    out = console(terminal=True)
    with Screen(out) as screen:
        screen.show("The DAG runs")
        screen.finish()
        drawn = text(out)
        screen.show("Too late")
    assert "Too late" not in drawn
    assert text(out) == drawn


def test_where_it_is_narrow_the_details_give_way() -> None:
    out = Console(file=io.StringIO(), force_terminal=True, width=50)
    with Screen(out, clock=Clock()) as screen:
        screen.show("Deferred: no slot is held", "3 of 8 requests done, msgbatch_01")
    last_row = text(out).splitlines()[-1]
    assert last_row.split()[:6] == ["✓", "Deferred:", "no", "slot", "is", "held"]
    assert "…" in last_row
    assert last_row.split()[-2:] == ["0.0", "s"]
