"""The `streamvis` command. Each verb lives in the file of its name.

Exit codes: 0 done, or stopped by Ctrl-C or SIGTERM; 1 our own bug; 2 usage or config;
3 a camera; 4 weights; 5 an address; 6 an output file; 7 the runtime; 8 a message; 9 lagging;
130 stopped by a second Ctrl-C before it was clean. `streamvis.errors` has the tree.
"""

from __future__ import annotations

import sys

import typer

from streamvis.cli import doctor, run, schema, synth, tap, train, validate
from streamvis.cli.options import print_error
from streamvis.errors import StreamvisError

app = typer.Typer(
    help="Real-time perception over many cameras, published over ZeroMQ.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(run.run)
app.command()(tap.tap)
app.command()(validate.validate)
app.command()(schema.schema)
app.command()(synth.synth)
app.command()(train.train)
app.command()(doctor.doctor)


def main() -> None:
    """Entry point: an error of the world is one sentence and its exit code, no traceback."""
    try:
        app()
    except StreamvisError as error:
        print_error(error)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
