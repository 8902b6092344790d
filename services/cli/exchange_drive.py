"""The commands that drive a running exchange over its /sim: accounts, time, actions, faults."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from services.cli import options
from services.cli.exchange_errors import clear_errors
from services.cli.options import JsonFlag, OptionError

app = typer.Typer()

Text = str | None
UrlOption = Annotated[
    str,
    typer.Option(envvar="ALPACLAUDIA_EXCHANGE_URL", show_envvar=True, help="Of the exchange."),
]
KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="The account's key id.")]
HERE = "http://127.0.0.1:8700"


def _drive(url: str, method: str, path: str, body: object = None) -> Any:
    """One request to /sim; ends the command with one line when it is refused."""
    from services.cli.exchange_client import ExchangeClient

    with clear_errors():
        return ExchangeClient(url).ask(method, path, body)


def _print(answer: Any, text: str, *, as_json: bool) -> None:
    import msgspec

    typer.echo(msgspec.json.encode(answer).decode() if as_json else text)


@app.command()
def state(url: UrlOption = HERE, as_json: JsonFlag = False) -> None:
    """Simulated time, the accounts and what is in them."""
    from services.cli.exchange_show import state_text

    found = _drive(url, "GET", "/sim/state")
    _print(found, state_text(found), as_json=as_json)


@app.command()
def accounts(url: UrlOption = HERE, as_json: JsonFlag = False) -> None:
    """The accounts, one a line."""
    from services.cli.exchange_show import accounts_text

    found = _drive(url, "GET", "/sim/accounts")
    _print(found, accounts_text(found), as_json=as_json)


def _account_body(cash: Text, level: Text, stocks: Text) -> dict[str, Any]:
    from services.exchange.config import CASH_MAX, LEVEL_MAX

    body: dict[str, Any] = {}
    if cash is not None:
        body["cash"] = str(options.amount("--cash", cash, CASH_MAX))
    if level is not None:
        body["options_level"] = options.whole("--options-level", level, 0, LEVEL_MAX)
    if stocks is not None:
        held = options.holdings("--stocks", stocks)
        body["positions"] = {symbol: {"qty": str(qty)} for symbol, qty in held.items()}
    return body


CashOption = Annotated[Text, typer.Option(metavar="N", help="Dollars it begins with.")]
LevelOption = Annotated[Text, typer.Option(metavar="L", help="Options level, 0 to 3.")]
StocksOption = Annotated[
    Text, typer.Option(metavar="AAPL=100,KO=50", help="Shares it begins with.")
]


@app.command("open")
def open_account(
    key: KeyArgument,
    secret: Annotated[Text, typer.Option(metavar="S", show_default="drawn")] = None,
    cash: CashOption = None,
    options_level: LevelOption = None,
    stocks: StocksOption = None,
    url: UrlOption = HERE,
    as_json: JsonFlag = False,
) -> None:
    """Open one more account, with its own keys and books."""
    import secrets

    secret = secrets.token_urlsafe(24) if secret is None else secret
    with clear_errors():
        body = {"key": key, "secret": secret} | _account_body(cash, options_level, stocks)
    made = _drive(url, "POST", "/sim/accounts", body)
    text = f"opened {made['account_number']}: key {key}, secret {secret}, cash {made['cash']}"
    _print(made | {"secret": secret}, text, as_json=as_json)


@app.command()
def reset(
    key: KeyArgument,
    cash: CashOption = None,
    options_level: LevelOption = None,
    stocks: StocksOption = None,
    url: UrlOption = HERE,
    as_json: JsonFlag = False,
) -> None:
    """Begin an account anew, now; its keys stay. Without options: with the cash it had first."""
    with clear_errors():
        body = _account_body(cash, options_level, stocks)
    made = _drive(url, "POST", f"/sim/accounts/{_quoted(key)}/reset", body or None)
    text = f"{key} begins anew as {made['account_number']}: cash {made['cash']}"
    _print(made, text, as_json=as_json)


@app.command()
def close(key: KeyArgument, url: UrlOption = HERE, as_json: JsonFlag = False) -> None:
    """Remove an account and its books."""
    _drive(url, "DELETE", f"/sim/accounts/{_quoted(key)}")
    _print({"closed": key}, f"closed {key}", as_json=as_json)


def _quoted(text: str) -> str:
    from services.cli.exchange_client import in_path

    return in_path(text)


# --- time --------------------------------------------------------------------------------------


def _show_clock(found: Any, *, as_json: bool) -> None:
    from services.cli.exchange_show import clock_text

    _print(found, clock_text(found), as_json=as_json)


@app.command()
def pause(url: UrlOption = HERE, as_json: JsonFlag = False) -> None:
    """Let time stand still."""
    _show_clock(_drive(url, "PATCH", "/sim/clock", {"paused": True}), as_json=as_json)


@app.command()
def resume(url: UrlOption = HERE, as_json: JsonFlag = False) -> None:
    """Let time run."""
    _show_clock(_drive(url, "PATCH", "/sim/clock", {"paused": False}), as_json=as_json)


@app.command()
def speed(
    times: Annotated[str, typer.Argument(metavar="X", help="Times faster than life.")],
    url: UrlOption = HERE,
    as_json: JsonFlag = False,
) -> None:
    """Change how fast time runs."""
    with clear_errors():
        wished = options.number("speed", times, 0, 1_000_000, above=True)
    _show_clock(_drive(url, "PATCH", "/sim/clock", {"speed": wished}), as_json=as_json)


@app.command()
def step(
    minutes: Annotated[Text, typer.Option(metavar="N", show_default="1")] = None,
    sessions: Annotated[
        Text, typer.Option(metavar="N", help="To the open of the n-th next session.")
    ] = None,
    to: Annotated[Text, typer.Option(metavar="open|close|TIME", help="TIME with its zone.")] = None,
    url: UrlOption = HERE,
    as_json: JsonFlag = False,
) -> None:
    """Move time on by hand; every account is played up to there."""
    given = {"--minutes": minutes, "--sessions": sessions, "--to": to}
    asked = [option for option, text in given.items() if text is not None]
    with clear_errors():
        if len(asked) > 1:
            raise OptionError(asked[1], given[asked[1]], f"give this or {asked[0]}, not both")
        body: dict[str, Any] = {}
        if minutes is not None:
            body["minutes"] = options.number("--minutes", minutes, 0, 527_040, above=True)
        if sessions is not None:
            body["sessions"] = options.whole("--sessions", sessions, 1, 10_000)
        if to is not None:
            body["to"] = to
    _show_clock(_drive(url, "POST", "/sim/step", body), as_json=as_json)


# --- corporate actions -------------------------------------------------------------------------

ExDate = Annotated[str, typer.Option("--ex-date", metavar="DATE", help="First day without it.")]
SymbolArgument = Annotated[str, typer.Argument(metavar="SYMBOL")]


@app.command()
def dividend(
    symbol: SymbolArgument,
    rate: Annotated[str, typer.Argument(metavar="RATE", help="Dollars a share.")],
    ex_date: ExDate,
    url: UrlOption = HERE,
    as_json: JsonFlag = False,
) -> None:
    """Announce a cash dividend."""
    with clear_errors():
        body = {"type": "cash_dividend", "symbol": symbol.upper(), "rate": rate}
        body["ex_date"] = str(options.date("--ex-date", ex_date))
    made = _drive(url, "POST", "/sim/corporate-actions", body)
    text = f"{made['symbol']} pays {made['rate']} a share on {made['payable_date']}, ex {ex_date}"
    _print(made, text, as_json=as_json)


@app.command()
def split(
    symbol: SymbolArgument,
    ratio: Annotated[str, typer.Argument(metavar="NEW:OLD", help="4:1 makes one share four.")],
    ex_date: ExDate,
    url: UrlOption = HERE,
    as_json: JsonFlag = False,
) -> None:
    """Announce a split; contracts on the stock are adjusted."""
    new, _, old = ratio.partition(":")
    with clear_errors():
        if not new or not old:
            raise OptionError("NEW:OLD", ratio, "give two numbers, such as 4:1")
        body = {"type": "split", "symbol": symbol.upper(), "new_rate": new, "old_rate": old}
        body["ex_date"] = str(options.date("--ex-date", ex_date))
    made = _drive(url, "POST", "/sim/corporate-actions", body)
    text = f"{made['symbol']} splits {new} for {old} on {ex_date}"
    _print(made, text, as_json=as_json)


# --- faults ------------------------------------------------------------------------------------


@app.command()
def faults(url: UrlOption = HERE, as_json: JsonFlag = False) -> None:
    """The faults that are set, with how often they struck."""
    from services.cli.exchange_show import faults_text

    found = _drive(url, "GET", "/sim/faults")
    _print(found, faults_text(found), as_json=as_json)


@app.command()
def fault(  # noqa: PLR0913, PLR0917
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="delay, rate_limited, error, reset, hang, malformed (error, reset, hang and "
            "malformed also as …_after: what was asked is done first), missing_greeks, "
            "missing_quotes, stale_quotes; of streams drop, mute, duplicate, reorder.",
        ),
    ],
    on: Annotated[
        Text, typer.Option(metavar="'POST /v2/orders'", help="Which requests.", show_default="all")
    ] = None,
    stream: Annotated[
        Text, typer.Option(metavar="NAME", help="trade_updates, stocks or options.")
    ] = None,
    rate: Annotated[Text, typer.Option(metavar="R", help="0 to 1.", show_default="1")] = None,
    seed: Annotated[Text, typer.Option(metavar="S", help="Of which ones it strikes.")] = None,
    times: Annotated[Text, typer.Option(metavar="N", help="So many at most.")] = None,
    skip: Annotated[Text, typer.Option(metavar="N", help="So many pass first.")] = None,
    seconds: Annotated[Text, typer.Option(metavar="X", help="How long, or how stale.")] = None,
    status: Annotated[Text, typer.Option(metavar="N", help="Of an error, 400 to 599.")] = None,
    message: Annotated[Text, typer.Option(help="Of an error.")] = None,
    share: Annotated[Text, typer.Option(metavar="R", help="Of the symbols in an answer.")] = None,
    key: Annotated[Text, typer.Option(metavar="K", help="Only of this account.")] = None,
    name: Annotated[Text, typer.Option("--id", help="To remove it by.")] = None,
    url: UrlOption = HERE,
    as_json: JsonFlag = False,
) -> None:
    """Set a fault that requests or streams may meet; POST /sim/faults takes more than these."""
    from services.cli.exchange_show import fault_text

    given = {"stream": stream, "message": message, "key": key, "id": name}
    body: dict[str, Any] = {"kind": kind} | {n: v for n, v in given.items() if v is not None}
    wholes = {"seed": seed, "times": times, "skip": skip, "status": status}
    numbers = {"rate": (rate, 1), "seconds": (seconds, 10**7), "share": (share, 1)}
    with clear_errors():
        for field, text in wholes.items():
            if text is not None:
                body[field] = options.whole(f"--{field}", text, 0, 10**9)
        for field, (text, most) in numbers.items():
            if text is not None:
                body[field] = options.number(f"--{field}", text, 0, most)
        if on is not None:
            body |= _place(on)
    made = _drive(url, "POST", "/sim/faults", body)
    _print(made, f"set: {fault_text(made)}", as_json=as_json)


def _place(on: str) -> dict[str, str]:
    """'POST /v2/orders', '/v2/orders' or 'POST'."""
    words = on.split()
    methods = [word.upper() for word in words if not word.startswith("/")]
    paths = [word for word in words if word.startswith("/")]
    if not words or len(methods) > 1 or len(paths) > 1:
        raise OptionError("--on", on, "give a method and a path, such as 'POST /v2/orders'")
    place = {"method": methods[0]} if methods else {}
    return place | ({"path": paths[0]} if paths else {})


@app.command()
def heal(
    name: Annotated[Text, typer.Argument(metavar="[ID]", help="One fault; all without it.")] = None,
    url: UrlOption = HERE,
    as_json: JsonFlag = False,
) -> None:
    """Remove a fault, or all of them."""
    _drive(url, "DELETE", "/sim/faults" + (f"/{_quoted(name)}" if name is not None else ""))
    _print({"healed": name}, f"healed {name or 'everything'}", as_json=as_json)
