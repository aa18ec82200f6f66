"""`producer draft` of a table: what could lose a record or change a value is not chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .conftest import Drafted

TIME = "2025-01-15T08:00:00Z"


def shown(drafted: Drafted, file: str, records: int) -> list[dict[str, Any]]:
    tried = drafted.attempt(file)
    assert (tried["records"], tried["rejected"]) == (records, 0), (drafted.section, tried["faults"])
    return [each["adapted"] for each in tried["shown"]]


@pytest.mark.parametrize(
    "text",
    [
        f"name,2024,when\nann,high,{TIME}\nbob,low,{TIME}\n",
        f'id,"Name\n(full)",ts\nk1,Ann,{TIME}\nk2,Bob,{TIME}\n',
        f'id,"Name, or\na, b, c",ts\nk1,Ann,{TIME}\nk2,Bob,{TIME}\n',
        f"id,tag,2024\nk1,b,{TIME}\nk2,c,{TIME}\n",
    ],
)
@pytest.mark.parametrize("delimiter", [",", ";", "|"])
def test_no_row_of_data_is_taken_for_the_header(drafted: Drafted, text: str, delimiter: str) -> None:
    file = drafted.file(text.replace(",", delimiter))
    drafted.draft(file)
    assert "skip_rows" not in drafted.section
    shown(drafted, file, 2)


def test_a_header_with_a_year_stands_below_a_title(drafted: Drafted) -> None:
    file = drafted.file(f"Export of the shop\n\nid;tag;2024\nk1;b;{TIME}\nk2;c;{TIME}\n")
    drafted.draft(file)
    assert "skip_rows = 2" in drafted.section
    shown(drafted, file, 2)


def test_a_table_without_a_header_is_in_doubt(drafted: Drafted) -> None:
    code, found = drafted.draft(drafted.file(f"k1,5,{TIME}\nk2,6,{TIME}\nk3,7,{TIME}\n"))
    assert code == 1
    assert any("line 1" in each and "header" in each for each in found["undecided"])


def test_a_word_for_no_value_that_is_a_value_of_another_column_is_not_chosen(drafted: Drafted) -> None:
    file = drafted.file(f"id,n,country,ts\na,1,NA,{TIME}\nb,NA,DE,{TIME}\nc,3,NO,{TIME}\n")
    code, found = drafted.draft(file)
    assert (code, len(found["undecided"])) == (1, 1)
    assert '# null_values = ["NA"]' in drafted.section
    assert "\nnull_values" not in drafted.section
    tried = drafted.attempt(file)
    assert (tried["rejected"], tried["shown"][0]["adapted"]["country"]) == (1, "NA")


def test_backslashes_of_a_path_stay(drafted: Drafted) -> None:
    file = drafted.file(f'id,path,size,ts\nk1,C:\\temp\\new,a,{TIME}\nk2,D:\\x,5\\" pipe,{TIME}\n')
    drafted.draft(file)
    assert shown(drafted, file, 2)[0]["path"] == "C:\\temp\\new"


def test_backslashes_of_a_path_beside_escaped_quotes_are_in_doubt(drafted: Drafted) -> None:
    file = drafted.file(f'id,path,word,ts\nk1,C:\\temp,"a \\"b\\" c",{TIME}\n')
    code, found = drafted.draft(file)
    assert (code, "escapechar" in found["dialect"]) == (1, False)
    assert '# escapechar = "\\\\"' in drafted.section


def test_a_backslash_before_quotes_in_quoted_cells_is_an_escape(drafted: Drafted) -> None:
    file = drafted.file(f'id,word,ts\nk1,"a \\"b\\" c",{TIME}\nk2,"d",{TIME}\n')
    code, _ = drafted.draft(file)
    assert (code, shown(drafted, file, 2)[0]["word"]) == (0, 'a "b" c')


@pytest.mark.parametrize("code", ["01067", "+491701234567"])
def test_one_code_makes_a_column_of_codes(drafted: Drafted, code: str) -> None:
    rows = "".join(f"k{number},{10_000 + number},{TIME}\n" for number in range(500))
    file = drafted.file(f"id,code,ts\n{rows}k500,{code},{TIME}\n")
    _, found = drafted.draft(file)
    assert [each["type"] for each in found["fields"]] == ["str"]


def test_a_column_of_unique_values_is_the_key_before_one_with_its_name(drafted: Drafted) -> None:
    rows = "".join(f"c{number % 4},o{number},{number}.5,{TIME}\n" for number in range(50))
    code, found = drafted.draft(drafted.file(f"customer_id,order,amount,ts\n{rows}"))
    assert (code, found["key_candidates"][0]["column"]) == (1, ["order"])
    assert found["undecided"] == [
        "the key may be order, which is unique, or customer_id, which is not, but has the name of one"
    ]


def test_a_key_that_is_not_unique_is_undecided(drafted: Drafted) -> None:
    rows = "".join(f"c{number % 4},{number}.5,{TIME}\n" for number in range(50))
    code, found = drafted.draft(drafted.file(f"customer_id,amount,ts\n{rows}"))
    assert (code, len(found["undecided"])) == (1, 1)
    assert "customer_id" in found["undecided"][0]


def test_a_row_whose_first_cell_begins_with_a_hash_is_a_row(drafted: Drafted) -> None:
    file = drafted.file(f"id,tag,ts\nk1,a,{TIME}\n#k2,b,{TIME}\nk3,c,{TIME}\n")
    drafted.draft(file)
    shown(drafted, file, 3)


def test_force_overwrites_all_files_or_none(drafted: Drafted) -> None:
    file = drafted.file("id,at\na,2025-01-15\n")
    contract = drafted.folder / "shop_contract.py"
    contract.write_text("# my edits\n")
    (drafted.folder / "sluice.toml").mkdir()
    assert drafted.draft(file, "--force")[0] == 2
    assert contract.read_text() == "# my edits\n"
    assert sorted(each.name for each in Path(drafted.folder).iterdir()) == [
        "shop.csv", "shop_contract.py", "sluice.toml",
    ]  # fmt: skip
