"""The exchange's keys in a file of their own, so that they are in nobody's environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.exchange.config import ExchangeError, read_config

REST = '{"port": 8700, "key": "", "secret": ""}'


def test_the_file_fills_in_what_the_environment_leaves_out(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text('{"key": "SIM1", "secret": "of-the-file"}')
    config = read_config(REST, str(path))
    assert (config.port, config.key, config.secret) == (8700, "SIM1", "of-the-file")


@pytest.mark.parametrize(
    ("text", "words"),
    [(None, "EXCHANGE_KEYS_FILE: .*No such file"), ("{", "EXCHANGE_CONFIG"), ("[]", "object")],
)
def test_a_file_that_is_none_is_told_in_one_line(
    tmp_path: Path, text: str | None, words: str
) -> None:
    path = tmp_path / "keys.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ExchangeError, match=words):
        read_config(REST, str(path))
