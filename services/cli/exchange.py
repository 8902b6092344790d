"""`alpaclaudia exchange …`: the simulated Alpaca as a product of its own.

`serve` runs one; the other commands drive one that runs, over its /sim.
"""

from __future__ import annotations

from typing import Annotated

import typer

from services.cli import exchange_drive
from services.cli.exchange_errors import clear_errors
from services.cli.options import JsonFlag, fail

app = typer.Typer(
    name="exchange",
    help="The simulated Alpaca alone: serve one, and drive one that runs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Text = str | None


@app.command()
def serve(  # noqa: PLR0913, PLR0917  # a command's options are its arguments
    port: Annotated[str, typer.Option(metavar="P", help="0: any free port.")] = "8700",
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    as_json: JsonFlag = False,
    seed: Annotated[
        Text, typer.Option(metavar="S", help="Of everything that is drawn.", show_default="1")
    ] = None,
    start: Annotated[
        Text, typer.Option("--from", metavar="DATE", help="First day.", show_default="2020-02-03")
    ] = None,
    symbols: Annotated[
        Text, typer.Option(metavar="A,B", help="The stocks there are.", show_default="all")
    ] = None,
    cash: Annotated[Text, typer.Option(metavar="N", help="Dollars.", show_default="100000")] = None,
    stocks: Annotated[
        Text, typer.Option(metavar="AAPL=100,KO=50", help="Shares held at the start.")
    ] = None,
    options_level: Annotated[
        Text,
        typer.Option(metavar="L", help="0 none, 1 covered, 2 long options, 3.", show_default="3"),
    ] = None,
    key: Annotated[Text, typer.Option(metavar="K", show_default="drawn")] = None,
    secret: Annotated[Text, typer.Option(metavar="S", show_default="drawn")] = None,
    speed: Annotated[
        Text, typer.Option(metavar="X", help="Times faster than life.", show_default="1")
    ] = None,
    paused: Annotated[
        bool, typer.Option("--paused", help="Time stands still until it is stepped or resumed.")
    ] = False,
    skip_closed: Annotated[
        bool,
        typer.Option(
            "--skip-closed/--closed-hours", help="Nights take no time, or pass as life's."
        ),
    ] = True,
    wait_for_client: Annotated[
        bool, typer.Option("--wait-for-client", help="Time starts at the first client's request.")
    ] = False,
    state: Annotated[
        Text, typer.Option(metavar="PATH", help="Keep the books there.", show_default="in memory")
    ] = None,
    bars: Annotated[
        Text, typer.Option(metavar="PATH", help="Prices: a CSV or Parquet file, or a folder.")
    ] = None,
    walk: Annotated[
        bool, typer.Option("--walk", help="Prices: a seeded random walk, any --symbols.")
    ] = False,
    alpaca_bars: Annotated[
        Text,
        typer.Option(
            metavar="START:END", help="Prices: Alpaca's bars, with ALPACA_API_KEY and its secret."
        ),
    ] = None,
    rate_limit: Annotated[
        Text, typer.Option(metavar="N", help="Requests a minute.", show_default="200")
    ] = None,
    partial_fill_rate: Annotated[
        Text, typer.Option(metavar="R", help="Share of partial fills, 0 to 1.", show_default="0")
    ] = None,
    slippage_bps: Annotated[
        Text, typer.Option(metavar="B", help="Hundredths of a percent.", show_default="0")
    ] = None,
    fee_per_contract: Annotated[
        Text, typer.Option(metavar="D", help="Dollars.", show_default="0")
    ] = None,
    early_assignment_rate: Annotated[
        Text,
        typer.Option(
            metavar="R", help="Per night and short contract deep in the money.", show_default="0.02"
        ),
    ] = None,
) -> None:
    """The simulated Alpaca, until Ctrl-C. Prints its addresses and keys once it answers.

    Stock prices are real daily closes unless another source is named; option prices are synthetic.
    """
    from services.cli.exchange_serve import serve_exchange
    from services.cli.exchange_wishes import Wishes, told
    from services.exchange.config import ExchangeError

    wishes = Wishes(
        host=host,
        port=port,
        seed=seed,
        start=start,
        symbols=symbols,
        cash=cash,
        stocks=stocks,
        options_level=options_level,
        key=key,
        secret=secret,
        speed=speed,
        paused=paused,
        skip_closed=skip_closed,
        wait_for_client=wait_for_client,
        state=state,
        bars=bars,
        walk=walk,
        alpaca_bars=alpaca_bars,
        rate_limit=rate_limit,
        partial_fill_rate=partial_fill_rate,
        slippage_bps=slippage_bps,
        fee_per_contract=fee_per_contract,
        early_assignment_rate=early_assignment_rate,
    )
    with clear_errors():
        try:
            serve_exchange(wishes, as_json=as_json)
        except ExchangeError as error:
            raise fail(*told(error, wishes)) from None


app.add_typer(exchange_drive.app)
