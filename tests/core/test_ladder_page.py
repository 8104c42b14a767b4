"""docs/ladder.md is what the tables print."""

from pathlib import Path

from parityd.core.findings import ROWS
from parityd.core.ladder_page import diagram, page
from parityd.core.ladder_table import ACTIONS, TRANSITIONS

PAGE = Path(__file__).parents[2] / "docs" / "ladder.md"


def test_the_page_is_the_one_the_tables_print():
    assert PAGE.read_text(encoding="utf-8") == page(), "print it again: the command stands on the page"


def test_the_diagram_draws_every_move_and_no_other():
    drawn = {tuple(line.split(":")[0].split(" --> ")) for line in diagram().splitlines() if " --> " in line and "[*]" not in line}
    moves = {(rung, to) for rung in ACTIONS for to in TRANSITIONS[rung].values() if to != rung}
    assert {(here.strip(), there.strip()) for here, there in drawn} == moves


def test_every_parity_finding_is_on_the_page():
    text = page()
    assert [code for code in ROWS if f"| `{code}`" not in text] == []
