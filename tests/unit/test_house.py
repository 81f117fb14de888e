"""What the package keeps of `python -m tests.house`, and that the table finds what it counts."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from tests.house import PACKAGE, ROOT, House, table
from tests.words import ARCHAIC


@pytest.fixture(scope="module")
def ours() -> House:
    return House(ROOT)


def test_no_docstring_holds_a_word_of_the_list(ours: House) -> None:
    assert ours.words() == []


def test_no_module_and_no_folder_imports_itself_in_a_circle(ours: House) -> None:
    circles = ours.circles
    assert circles.at_top == []
    assert circles.in_functions == []
    assert circles.of_folders == []


def test_a_class_name_exists_once(ours: House) -> None:
    assert ours.doubled_classes() == []


@pytest.fixture
def house(tmp_path: Path) -> House:
    """A package with one of everything that is counted."""
    files = {
        "__init__": "",
        "api/__init__": "_MODULES = {'Client': 'client'}",
        "api/client": '''
            """{WORD} calls."""
            from typing import TYPE_CHECKING
            if TYPE_CHECKING:
                import airflow_batches.cli
            class Client:
                """One.

                Two, three."""
                def get(self):
                    """Get."""
                    from airflow_batches.waiting.wait import wait  # late
                    return wait
            ''',
        "waiting/__init__": "",
        "waiting/wait": """
            from airflow_batches.api import Client
            from airflow_batches.waiting import policy
            class wait: ...
            """,
        "waiting/policy": """
            import airflow_batches.waiting.wait
            class Client: ...
            A = 60 * 5
            B = 3  # chosen: few
            # The default of the API.
            C = timedelta(hours=24)
            D = 1.5
            '''Measured.'''
            E = 'text'
            """,
        "cli": "from airflow_batches.api.client import Client",
    }
    for name, text in files.items():
        path = tmp_path / PACKAGE / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).replace("{WORD}", ARCHAIC[0]))
    return House(tmp_path)


def test_words_are_found_in_docstrings(house: House) -> None:
    assert house.words() == [f"api/client.py:2 {ARCHAIC[0]}"]
    assert house.all_words() == 7


def test_circles_are_found_at_the_top_in_functions_and_between_folders(house: House) -> None:
    at_top, in_functions, of_folders = house.circles
    wait = ["airflow_batches.waiting.policy", "airflow_batches.waiting.wait"]
    assert at_top == ["  ".join(wait)]
    assert in_functions == ["  ".join(["airflow_batches.api.client", *wait])]
    assert of_folders == ["airflow_batches.api  airflow_batches.waiting"]


def test_names_in_two_files_are_found(house: House) -> None:
    assert house.doubled_classes() == ["Client: api/client.py, waiting/policy.py"]


def test_numbers_without_a_source_are_found(house: House) -> None:
    assert house.unexplained_constants() == ["waiting/policy.py:4 A"]


def test_docstrings_and_comments_are_no_code(house: House) -> None:
    sizes = {size.place: size.lines for size in house.function_sizes()}
    assert sizes == {"api/client.py:10 get": 3}
    (client,) = (file for file in house.files if file.name == "api/client.py")
    assert client.code_lines() == 7
    assert client.comments == {12}


def test_the_table_lists_what_it_counts(house: House) -> None:
    rows = [*table(house)]
    assert "doubled class names: 1" in rows
    assert "    Client: api/client.py, waiting/policy.py" in rows
    assert any(row.startswith("    waiting ") for row in rows)
