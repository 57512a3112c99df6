"""The `wsvis` command. Errors of the user end with a message on stderr and exit code 2, without a traceback."""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Sequence
from pathlib import Path

from wsvis_core.commands import check, evaluate, export, identity, import_videos, overlay, plan, status
from wsvis_core.errors import WsvisError


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code of the `wsvis` command: 0 done, 2 wrong input or problems found, 130 Ctrl-C; `status` has more."""
    options = build_parser().parse_args(arguments)
    try:
        return options.run(options)
    except WsvisError as error:
        print(f"wsvis {options.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"wsvis {options.command}: stopped by Ctrl-C", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"wsvis {options.command}: {_about(error)}", file=sys.stderr)
        return 2


def _about(error: OSError) -> str:
    """What the system refused, where, and what to do."""
    from wsvis_core.storage.space import full_disk_message, full_disk_reason

    if error.filename is None:
        return str(error)
    path, reason = Path(error.filename), full_disk_reason(error)
    if reason is not None:
        return full_disk_message(path, reason)
    message = f"{path}: {error.strerror}"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{message}. You may not write there (`ls -ld {path.parent}` shows who may); give a folder of your own"
    return message


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command and its subcommands; each sets `run`, a function of the options."""
    parser = argparse.ArgumentParser(prog="wsvis", description="Weakly supervised video instance segmentation.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for module in (import_videos, evaluate, identity, overlay, export, plan, status, check):
        module.add_command(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
