"""The verbs of the `streamvis` command; each lives in the file of its name."""

from __future__ import annotations

from typing import Annotated

import typer

from streamvis import __version__
from streamvis.cli import (
    doctor,
    eval,
    film,
    keygen,
    probe,
    rec,
    record,
    regress,
    reload,
    replay,
    run,
    schema,
    source,
    synth,
    tap,
    train,
    tune,
    validate,
)

EXIT_CODES = (
    "Exit codes: 0 done, or stopped by Ctrl-C or SIGTERM; 1 our own bug; 2 usage or config; "
    "3 a camera (the others, if any, went on); 4 weights; 5 an address; 6 an output file; "
    "7 Ray, or a worker; 8 a message; 9 lagging; 10 regress or --check found a difference; "
    "11 control of a session; "
    "130 stopped by a second Ctrl-C before it was clean (synth: by the first)."
)

app = typer.Typer(
    help="Real-time perception over many cameras, published over ZeroMQ.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(run.run)
app.command()(tap.tap)
app.add_typer(source.source, name="source")
app.command()(reload.reload)
app.command()(record.record)
app.add_typer(rec.rec, name="rec")
app.command()(replay.replay)
app.command()(regress.regress)
app.command()(validate.validate)
app.command()(schema.schema)
app.command()(synth.synth)
app.command()(train.train)
app.command(name="eval")(eval.eval_drive)
app.command()(tune.tune)
app.command()(film.film)
app.command()(keygen.keygen)
app.command(name="probe")(probe.probe_uri)
app.command()(doctor.doctor)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        print(f"streamvis {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Say which this is."
        ),
    ] = False,
) -> None:
    """What holds for every verb."""
    del version  # its callback did it
