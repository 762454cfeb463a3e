"""analyze: clips -> signals"""

from __future__ import annotations

from jobs.config.arguments import StageOptions
from jobs.config.errors import SettingsError
from jobs.config.settings import Settings
from jobs.flow.stage import Stage, run_alone
from jobs.lake.history import Counts
from jobs.lake.run import Run
from udfs import analyze
from udfs.core import media_cost
from udfs.video import nvdec

Options = StageOptions  # this job takes no others

STAGE = Stage(
    "analyze",
    table="signals",
    key="clip_id",
    source=lambda run: run.current("clips").drop("fingerprint", "run_id", "sha256"),
    rows=analyze.rows,
    resources=lambda s: nvdec.gpu_resources(s.analyze.resources, s.analyze.hwaccel == "cuda"),
    params=lambda s: analyze.Settings(s.analyze, s.motion, s.quality, s.phash, s.proxy, s.preview, s.windows),
    duration="duration_s",
    num_bytes="num_bytes",
    cost=lambda clip, settings: media_cost.analyzing(clip),
)


def check(options: Options, settings: Settings) -> None:
    """Refuse settings by which no clip would get a motion score."""
    params = settings.analyze
    if params.motion and params.hwaccel == "cuda" and settings.motion.parity:
        raise SettingsError("motion.parity: it scores motion vectors, which analyze.hwaccel = 'cuda' does not give")


def run(run: Run, options: Options) -> Counts:
    """Measure every clip that has no signals with these settings."""
    return run_alone(run, STAGE)


if __name__ == "__main__":
    from jobs.cli import script

    script("analyze")
