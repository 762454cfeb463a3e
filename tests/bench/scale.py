"""What a million hours of video cost, by the measured rates, and which part of the design reaches its limit first.

Usage: python -m tests.bench.scale [HOURS [OUTPUT]], or --write to put it into docs/benchmarks.md.

Rates of CPU are those of OUTPUT's `runs`, else those that `make bench-peers` left in build/bench,
else DEFAULT_CPU. The rest are the constants below, each with its source; those marked `assumed` are
no measurements.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deltalake import DeltaTable

from tests.support import goals
from udfs.core import scheduling
from udfs.signals import proxy

# CPU seconds per hour of video of 640 x 360 at 25 frames per second, by the table `runs` of a run over the demo's
# reels, 2026-11-28; ingest without what its first files cost.
DEFAULT_CPU = {"ingest": 3.0, "split": 0.1, "clip": 490.0, "analyze": 207.0, "embed": 10.0}
WITH_PIXELS = ("clip", "analyze")  # stages whose work grows with the size of the picture
MEASURED_PIXELS = 640 * 360
# GPU seconds per clip: assumed, until a GPU has been measured.
GPU_S = {"embed": 0.02, "caption": 1.0}
# Dollars: list prices of a large cloud, on demand, 2026.
CORE_HOUR, GPU_HOUR, GB_MONTH, PUTS, GETS = 0.045, 2.5, 0.023, 0.005 / 1000, 0.0004 / 1000
# Bytes: of a clip's rows in all tables on disk (make bench-scale: tables of a million clips), of a row
# of work on the driver (assumed), and of the two columns that `pending` reads per clip.
ROW_BYTES, WORK_BYTES, KEY_BYTES = 420, 2048, 56
PROXY_BIT_RATE_K, PREVIEW_BYTES = 250, 60_000  # assumed
REQUESTS = {"put": 4, "get": 12}  # per clip: the mp4, proxy and previews; ranges of the source and of the mp4
# Limits of what the design uses, and why that much.
DRIVER_BYTES = 8 * 2**30
TABLE_FILES = 1_000_000  # Delta's state of a table lies on the driver: some 2 KB per file
COMMIT_S, STAGE_COMMITS = 5.0, 2.0  # a commit in a store, and the commits per stage and wave (its table and `runs`)
SCAN_MB_S = 100.0  # of Parquet per core (assumed)
PREFIX_PUTS_S = 3500.0  # S3's limit of a prefix, before it has split it by load
SHARE = 0.1  # of a run's time that bookkeeping may take
SHUFFLE_BYTES = 10 * 2**40  # of disk for shuffles in a cluster of 100 machines


@dataclass(frozen=True)
class Library:
    """What is curated, and how."""

    hours: float = 1e6
    video_min: float = 10.0
    clip_s: float = 10.0
    pixels: int = 1920 * 1080
    bit_rate_k: int = 5000
    kept: float = 0.5  # share of the clips that is captioned
    runs: int = 365
    cores: int = 1000
    cpu: Mapping[str, float] = field(default_factory=lambda: DEFAULT_CPU)  # CPU seconds per hour of MEASURED_PIXELS

    @property
    def videos(self) -> float:
        """Number of videos."""
        return self.hours * 60 / self.video_min

    @property
    def clips(self) -> float:
        """Number of clips."""
        return self.hours * 3600 / self.clip_s

    @property
    def waves(self) -> int:
        """Waves per run, as `curate` deals them by default."""
        per_run = self.videos / self.runs
        return scheduling.num_waves(round(per_run), self.hours * 3600 / self.runs, scheduling.Params())

    def cpu_hours(self, stage: str) -> float:
        """CPU hours of a stage; the work of WITH_PIXELS grows with the picture, by its pixels at most."""
        factor = self.pixels / MEASURED_PIXELS if stage in WITH_PIXELS else 1.0
        return self.cpu[stage] * factor * self.hours / 3600

    def gpu_hours(self, stage: str) -> float:
        """GPU hours of a stage."""
        share = self.kept if stage == "caption" else 1.0
        return GPU_S.get(stage, 0.0) * self.clips * share / 3600

    @property
    def run_s(self) -> float:
        """Seconds of a run on these cores, without bookkeeping."""
        return sum(map(self.cpu_hours, self.cpu)) * 3600 / self.cores / self.runs


def costs(library: Library) -> Iterator[tuple[str, str, float]]:
    """What it costs: name, amount with its unit, and dollars."""
    for stage in library.cpu:
        hours = library.cpu_hours(stage)
        yield stage, f"{hours:,.0f} CPU hours", hours * CORE_HOUR
    for stage in GPU_S:
        hours = library.gpu_hours(stage)
        yield f"{stage}, on GPUs", f"{hours:,.0f} GPU hours (assumed)", hours * GPU_HOUR
    for kind, price in (("put", PUTS), ("get", GETS)):
        number = REQUESTS[kind] * library.clips
        yield f"{kind} requests", f"{number / 1e6:,.0f} million", number * price
    for name, num_bytes in storage(library).items():
        yield f"{name}, a month", f"{num_bytes / 1e12:,.1f} TB", num_bytes / 1e9 * GB_MONTH


def storage(library: Library) -> dict[str, float]:
    """Bytes that are kept."""
    seconds = library.hours * 3600
    return {
        "clips": seconds * library.bit_rate_k * 125,
        f"proxies of {proxy.Params().max_side_px} pixels": seconds * PROXY_BIT_RATE_K * 125,
        "previews": library.clips * PREVIEW_BYTES,
        "tables": library.clips * ROW_BYTES,
    }


@dataclass(frozen=True)
class Limit:
    """Something that the design uses, and how much of it there is."""

    what: str
    used: float
    most: float
    unit: str

    @property
    def share(self) -> float:
        """How much of the limit is used."""
        return self.used / self.most


def limits(library: Library) -> list[Limit]:
    """The limits, the nearest first, at the last run of the library."""
    stages = len(library.cpu)
    wave_clips = library.clips / library.runs / library.waves
    commits = library.waves * stages * STAGE_COMMITS
    keys = library.clips * KEY_BYTES
    scan_s = library.waves * stages * keys / (SCAN_MB_S * 1e6 * library.cores)
    puts_s = REQUESTS["put"] * library.clips / library.runs / library.run_s
    found = [
        Limit("rows of work of a wave on the driver", wave_clips * WORK_BYTES, DRIVER_BYTES, "bytes"),
        Limit("addresses of a folder's videos on the driver", library.videos * 1024, DRIVER_BYTES, "bytes"),
        Limit("files per table", library.runs * library.waves * 2, TABLE_FILES, "files"),
        Limit("commits of a run", commits * COMMIT_S, SHARE * library.run_s, "s"),
        Limit("scans for pending work of a run", scan_s, SHARE * library.run_s, "s"),
        Limit("requests that write", puts_s, PREFIX_PUTS_S, "per s"),
        Limit("largest shuffle, of all clips in dedup's plan", 5 * library.clips * KEY_BYTES, SHUFFLE_BYTES, "bytes"),
    ]
    return sorted(found, key=lambda limit: -limit.share)


def measured_cpu(output: Path | None = None, folder: Path = goals.FOLDER) -> dict[str, float]:
    """CPU seconds per hour of video of each stage: of an output's runs, else of the kept results, else the defaults."""
    if output:
        return cpu_of_runs(output)
    rates = {stage: goals.value(rate_name(stage), folder) for stage in DEFAULT_CPU}
    return {stage: DEFAULT_CPU[stage] if rate is None else rate for stage, rate in rates.items()}


def rate_name(stage: str) -> str:
    """The name of the row with a stage's rate, which make bench-peers measures."""
    return f"{stage}: CPU s per hour of video of 640 x 360"


def cpu_of_runs(output: Path) -> dict[str, float]:
    """CPU seconds per hour of video of the stages of DEFAULT_CPU, by the table `runs` of an output."""
    rows = DeltaTable(output / "tables" / "runs").to_pyarrow_table().to_pylist()
    hours = sum(row["media_s"] or 0.0 for row in rows if row["stage"] == "split") / 3600
    return {stage: sum(row["cpu_s"] or 0.0 for row in rows if row["stage"] == stage) / hours for stage in DEFAULT_CPU}


def report(library: Library) -> str:
    """Costs and limits as tables of Markdown."""
    bought = list(costs(library))
    lines = [
        f"{library.hours:,.0f} hours of video, {library.videos:,.0f} videos, {library.clips:,.0f} clips of "
        f"{library.clip_s:g} s, {library.runs} runs of {library.waves} waves, {library.cores} cores",
        "",
        "| what | amount | $ |",
        "|---|---|---|",
        *(f"| {what} | {amount} | {dollars:,.0f} |" for what, amount, dollars in bought),
        f"| all | | {sum(dollars for _, _, dollars in bought):,.0f} |",
        "",
        "| limit, the nearest first | used | most | share |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {limit.what} | {limit.used:,.0f} {limit.unit} | {limit.most:,.0f} | {limit.share:.1%} |"
        for limit in limits(library)
    ]
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """Print the report for a number of hours, or write that for a million into the page."""
    if arguments == ["--write"]:
        goals.write_part("scale", report(Library(cpu=measured_cpu())))
        return
    hours = float(arguments[0]) if arguments else 1e6
    print(report(Library(hours=hours, cpu=measured_cpu(Path(arguments[1]) if arguments[1:] else None))))


if __name__ == "__main__":
    main(sys.argv[1:])
