"""custom: clips, signals, copies -> a table per stage of your own"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

from jobs.config.arguments import StageOptions, several
from jobs.config.errors import UsageError
from jobs.config.settings import Settings
from jobs.flow import custom
from jobs.flow.stage import run_alone
from jobs.lake import custom_tables
from jobs.lake.history import Counts
from jobs.lake.run import Run
from udfs.core.words import did_you_mean


@dataclass(frozen=True, kw_only=True)
class Options(StageOptions):
    """What `custom` takes."""

    stage: tuple[str, ...] = several("only this one of the stages that [custom.NAME] sections name", "NAME")


def check(options: Options, settings: Settings) -> None:
    """Refuse stages that are wrong, and names of stages that the settings do not have."""
    custom.check(settings)
    if not settings.custom:
        raise UsageError("custom: no settings name a stage of your own: write a section [custom.NAME]")
    for name in options.stage:
        if name not in settings.custom:
            raise UsageError(f"--stage {name}: no section [custom.{name}]{did_you_mean(name, [*settings.custom])}")


def run(run: Run, options: Options) -> Counts:
    """Process every clip that has no row by the current settings and code of each stage."""
    custom.check_conditions(run)
    custom_tables.make(run)
    names = options.stage or tuple(run.settings.custom)
    return reduce(Counts.__add__, (run_alone(run, custom.stage(name)) for name in names), Counts())


if __name__ == "__main__":
    from jobs.cli import script

    script("custom")
