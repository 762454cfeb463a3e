"""The command `reelmill`: signals end it with one line from the first moment on."""

from __future__ import annotations

from jobs.config import interrupts


def command() -> None:
    """Run the command line."""
    interrupts.end_on_signals()
    from jobs import cli  # takes a second or two

    cli.command()


if __name__ == "__main__":
    command()
