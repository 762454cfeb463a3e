"""The note in `runs` that the last chain left nothing to do, for jobs after which that still holds."""

from __future__ import annotations

from jobs.lake import history, last_run
from jobs.lake.history import Work
from jobs.lake.last_run import CHAIN
from jobs.lake.run import Run


def is_noted(run: Run) -> bool:
    """Whether the last chain left nothing to do, and nothing but labels has changed since."""
    return run.is_only_writer and run.last.versions is not None and run.last.is_untouched(run.tables, but=("labels",))


def note_again(run: Run) -> None:
    """Note that still nothing is left to do, by tables as they are now; new labels stay new."""
    last = run.last
    tables = {name: version for name, version in last_run.versions(run.tables).items() if name != "labels"}
    tables |= {name: version for name, version in (last.versions or {}).items() if name == "labels"}
    known = {"fingerprint": last.fingerprints[CHAIN], "summary": last.summary, "scored_by": last.scored_by}
    known |= {"waiting_run_id": last.waiting_run_id, "linked": last.linked}
    history.note(run, CHAIN, Work(cpu_s=0.0), tables=tables, **known)
