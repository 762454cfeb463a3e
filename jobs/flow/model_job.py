"""The check and the run of every job with a stage that runs a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jobs.config.errors import SettingsError
from jobs.config.settings import Settings
from jobs.flow.stage import Stage, run_alone
from jobs.lake.history import Counts
from jobs.lake.run import Run
from jobs.spark import gpu_check
from udfs.models.registry import MissingModelError


@dataclass(frozen=True)
class ModelJob:
    """A stage that runs a model, and how its settings are checked before Spark starts."""

    stage: Stage
    setting: str  # the section or setting that names the model, for error messages
    check_model: Callable[[Settings], None]  # raises MissingModelError
    runs_here: Callable[[Settings], bool] = lambda settings: True  # whether tasks run the model, and no endpoint does

    def check(self, options: object, settings: Settings) -> None:
        """Refuse a model that is missing, may not run or lacks a package, and a GPU that this machine does not have.

        Raises:
            SettingsError: any of these.
        """
        try:
            self.check_model(settings)
        except MissingModelError as e:
            raise SettingsError(f"{self.setting}: {e}") from e
        section = self.setting.partition(".")[0]
        device = settings.models.device if self.runs_here(settings) else "auto"
        gpu_check.check(section, self.stage.resources(settings), device, settings.spark)

    def run(self, run: Run, options: object) -> Counts:
        """Process every input of the stage that has no row by the current settings."""
        return run_alone(run, self.stage)
