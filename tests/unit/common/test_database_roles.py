"""The table of roles against the tables there are."""

from __future__ import annotations

import pytest

from libs.common import database as db
from libs.common.database_roles import BY_NAME, ROLES, Role, grants, login_path

TABLES = {table.name: table for table in db.metadata.sorted_tables}
WHAT_WAS_ORDERED = {
    "client_order_id",
    "intent_id",
    "approval_json",
    "symbol",
    "side",
    "qty",
    "order_type",
    "expires_at",
    "strategy",
    "underlying",
    "replaces",
    "rests_since",
    "recorded_at",
}

MADE_WHOLE = "executor_epoch"
"""Its one row comes with the schema."""


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_role_names_tables_and_columns_there_are(role: Role) -> None:
    assert set(role.inserts) <= set(TABLES)
    for table, columns in role.updates.items():
        given = role.inserts if role.name != "operator" else (*role.inserts, "differences")
        assert table in (*given, MADE_WHOLE), "what a role may change it may also write"
        assert set(columns) <= set(TABLES[table].c.keys())
        assert not {column.name for column in TABLES[table].primary_key} & set(columns)


def test_every_table_has_one_writer_of_rows() -> None:
    writers = {
        table: [role.name for role in ROLES if table in role.inserts and role.name != "operator"]
        for table in TABLES
    }
    assert {table for table, names in writers.items() if len(names) != 1} == {MADE_WHOLE}


def test_what_was_ordered_is_never_rewritten() -> None:
    assert not WHAT_WAS_ORDERED & set(BY_NAME["executor"].updates["orders"])
    assert set(TABLES["orders"].c.keys()) == WHAT_WAS_ORDERED | set(
        BY_NAME["executor"].updates["orders"]
    )


def test_nobody_is_given_more_than_reading_writing_and_columns() -> None:
    words = " ".join(grants(tuple(TABLES))).split(" grant ")[1:]
    assert {grant.split()[0] for grant in words} == {"usage", "select", "insert", "update"}
    assert all(grant.startswith("update (") for grant in words if grant.startswith("update"))
    assert "risk" not in BY_NAME, "risk keeps no books"
    assert {"market", "planner"} & set(BY_NAME) == set()


def test_the_operator_may_write_what_its_commands_need_only() -> None:
    needed = (
        "reports_sent",
        "trading_states",
        "opening_balances",
    )  # report --post, halt, reconcile
    assert BY_NAME["operator"].inserts == needed
    assert BY_NAME["dashboard"] == Role(name="dashboard")


def test_each_role_has_a_file_of_its_own(tmp_path: object) -> None:
    from pathlib import Path

    assert len({login_path(Path("x"), role.name) for role in ROLES}) == len(ROLES)
