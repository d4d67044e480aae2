"""Where the `streamvis` command starts, and where all its errors end."""

from __future__ import annotations

import sys

from streamvis.errors import StreamvisError

INTERRUPTED = 130


def main() -> None:
    """An error of the world is one sentence and its exit code; an early Ctrl-C no traceback."""
    try:
        from streamvis.cli.app import app  # takes half a second: long enough for a Ctrl-C

        app()
    except StreamvisError as error:
        from streamvis.cli.options import print_error

        print_error(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
