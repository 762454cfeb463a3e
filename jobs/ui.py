"""ui: serve the page of an output on this machine, with live queries, search and labels; runs without Spark"""

from __future__ import annotations

import getpass
import os
import secrets
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar

from jobs.config.arguments import OutputOptions, argument, flag, natural
from jobs.config.errors import UsageError
from jobs.queries import ask
from schemas import knowing

if TYPE_CHECKING:  # what takes part of the second in which the server starts is imported where it is used
    from jobs.reports.live import Library

LOOPBACK = ("127.0.0.1", "localhost", "::1")
NO_SERVER = "starlette and uvicorn are not installed here: pip install 'reelmill[ui]'"


@dataclass(frozen=True, kw_only=True)
class Options(OutputOptions):
    """What `ui` takes."""

    READS_ONLY: ClassVar[bool] = True

    port: int = argument("port; 0: any that is free", default=8321, type=natural, metavar="PORT")
    host: str = argument("address to serve on; any but loopback needs --token-env", default="127.0.0.1", metavar="HOST")
    token_env: str | None = argument(
        "environment variable with the token that browsers must give; without, one is made up and printed",
        default=None,
        metavar="NAME",
    )
    read_only: bool = flag("let no one give labels")


def quick(options: Options) -> int:
    """Serve until Ctrl-C.

    Raises:
        UsageError: the output cannot be read here, or the address needs a token.
    """
    token = token_of(options)
    if reason := ask.needs_spark(options.output, options.schema):
        raise UsageError(f"ui: {reason}")
    if find_spec("starlette") is None or find_spec("uvicorn") is None:
        raise UsageError(f"ui: {NO_SERVER}")
    from jobs.queries import delta_source

    found = library(options)
    with knowing(delta_source.custom_tables(found.output, found.sources)):
        serve(found, options, token)
    return 0


def token_of(options: Options) -> str:
    """The token that browsers must give: that of the variable, or on loopback a new one.

    Raises:
        UsageError: the address is not loopback and there is no token, or the variable is empty.
    """
    if options.token_env is None:
        if options.host not in LOOPBACK:
            raise UsageError(f"--host {options.host}: not loopback; name a variable with a token by --token-env")
        return secrets.token_urlsafe(24)
    if not (token := os.environ.get(options.token_env)):
        raise UsageError(f"--token-env {options.token_env}: the variable is not set")
    return token


def library(options: Options) -> Library:
    """What is served.

    Raises:
        UsageError: the output holds no tables.
    """
    from jobs.config import quick_settings
    from jobs.lake import places
    from jobs.reports.live import Library

    settings = quick_settings.load(options.conf, options.set)
    output = places.output(options.output, settings.sources)
    places.check_tables(output, None, settings.sources)
    by = (options.conf, options.set, options.read_only, _user())
    return Library(output, settings.sources, settings.filter, *by)


def _user() -> str:
    """Who runs this, the name with which the page labels clips; '' of an id without a name, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the former before Python 3.13
        return ""


def serve(library: Library, options: Options, token: str) -> None:
    """Serve a library until Ctrl-C."""
    import uvicorn

    from jobs.reports import server

    hosts = server.LOOPBACK if options.host in LOOPBACK else ("*",)  # elsewhere by whatever name a proxy has
    config = uvicorn.Config(
        server.app(library, hosts, token), host=options.host, port=options.port, log_level="warning", access_log=False
    )
    with config.bind_socket() as socket:
        socket.listen()  # so that the address answers when it is printed
        address = f"[{options.host}]" if ":" in options.host else options.host
        shown = token if options.token_env is None else "..."
        how = f"/?token={shown}" + (f" (the value of {options.token_env})" if options.token_env else "")
        print(f"{library.output} at http://{address}:{socket.getsockname()[1]}{how}; Ctrl-C ends it", flush=True)
        uvicorn.Server(config).run(sockets=[socket])


if __name__ == "__main__":
    from jobs.cli import script

    script("ui")
