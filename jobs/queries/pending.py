"""What is pending in each stage, in SQL over the tables: the inputs that the jobs themselves find by Spark.

It says the same as `jobs.flow.stage.pending`, `jobs.similarity.copy_groups`, `dedup_run` and
`jobs.filter`; tests hold both alike. Of gates that only Spark can apply it goes by the last verdicts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from jobs.lake.catalog import literal, quoted
from jobs.lake.owners import owners
from jobs.queries import gate_settings, stored_gates
from jobs.queries.gate_settings import GateSettings
from jobs.queries.reader import Row, Rows, first
from jobs.queries.stored_gates import StoredGate
from udfs.core.errors import PASSING
from udfs.filter import Gate, Params, aesthetic_gate, signal_gates

if TYPE_CHECKING:  # the code of all stages takes more than a second
    from jobs.config.settings import Settings

RETRIED = ", ".join(map(literal, PASSING))  # codes of failures that each run takes up
NEVER = "never run"  # a fingerprint that no row has
CUTTING = ("split", "clip", "analyze")
CAPTIONING = ("caption", "align", "enhance")  # each with a switch of its name in [curate]
# The tables of clips in which a new row may give a later stage something to do.
WORKED_ON = ("spans", "clips", "signals", "copies", "aesthetics", "embeddings", "verdicts", "captions")
GATED = "motion_score_global_mean, motion_score_per_patch_min_256, blackness, freeze, blur, letterbox"
NEWEST = "SELECT max_by(video_id, run_id) AS video_id FROM videos GROUP BY uri"
SUPERSEDED = """
SELECT video_id FROM (SELECT video_id, row_number() OVER (PARTITION BY uri ORDER BY run_id DESC) AS place FROM videos)
WHERE place > 1
"""


class Pending(NamedTuple):
    """The inputs that are pending in a stage, and their seconds of media where they are known."""

    stage: str
    inputs: int
    media_s: float | None


@dataclass(frozen=True)
class InForce:
    """The settings by which work is pending: the fingerprint of each stage, and the settings themselves.

    `rest` is a run that left nothing to do by these settings, if there is one. Then only what rows
    of later runs have changed is looked at, and what failed in the run `waiting` and is tried again.
    """

    fingerprints: Mapping[str, str]
    settings: Row  # sections with their keys, as `runs.conf` has them
    rest: str | None = None
    waiting: str | None = None

    @classmethod
    def of(cls, settings: Settings) -> InForce:
        """Those that settings give."""
        from jobs.lake import fingerprints

        return cls(fingerprints.every(settings), fingerprints.settings_values(settings))

    @property
    def filter(self) -> Params:
        """[filter]"""
        return gate_settings.params(self.settings.get("filter", {}))

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages of the chain whose inputs are rows of tables, in order."""
        switches = self.settings.get("curate", {})
        models = (*(["aesthetic"] if switches.get("aesthetic") else []), "embed", *self.settings.get("custom", {}))
        copies = ("copies",) if self.filter.duplicates else ()
        return (*CUTTING, *copies, *models, "dedup", "filter", *(stage for stage in CAPTIONING if switches.get(stage)))


def pending(rows: Rows, force: InForce) -> list[Pending]:
    """What is pending in each stage of the chain."""
    queries = _Queries(force)
    return [_counted(rows, stage, queries.pending(stage)) for stage in force.stages]


def _counted(rows: Rows, stage: str, query: str) -> Pending:
    row = first(rows(f"SELECT count(*) AS inputs, sum(seconds) AS seconds FROM ({query})")) or {}
    return Pending(stage, row["inputs"], row["seconds"])


@dataclass(frozen=True)
class _Queries:
    """The queries for `key`, `video_id` and `seconds` of what is pending."""

    force: InForce

    def pending(self, stage: str) -> str:
        """What is pending in a stage."""
        by_stage = {"copies": self._copies_to_find, "dedup": self._to_link, "filter": self._to_judge}
        return by_stage[stage]() if stage in by_stage else self._of_stage(stage)

    def _of_stage(self, stage: str) -> str:
        """The inputs of a stage that have neither a row nor a failure by its settings."""
        table = next(name for name, owner in owners().items() if owner.stage == stage)
        key = "video_id" if stage == "split" else "clip_id"
        done = f"SELECT {key} AS key FROM {quoted(table)} WHERE fingerprint = {self._fingerprint(stage)}"
        return f"""
SELECT inputs.key, inputs.video_id, inputs.seconds FROM ({self._inputs(stage)}) AS inputs
LEFT JOIN videos AS seen ON seen.video_id = inputs.video_id
LEFT ANTI JOIN ({done}) AS done ON done.key = inputs.key
LEFT ANTI JOIN ({self._given_up(stage)}) AS failed
  ON failed.key = inputs.key AND failed.failed_in >= coalesce(seen.run_id, '')"""

    def _given_up(self, stage: str) -> str:
        """The inputs that failed and are not tried again, unless their video was ingested since."""
        return (
            f"SELECT key, max(run_id) AS failed_in FROM failures WHERE stage = {literal(stage)} "
            f"AND fingerprint = {self._fingerprint(stage)} GROUP BY key HAVING max_by(code, run_id) NOT IN ({RETRIED})"
        )

    def _inputs(self, stage: str) -> str:
        """Every current input of a stage, done or not."""
        if stage == "split":
            since = f"WHERE videos.run_id > {literal(self.force.rest)} {self._or_waits()}" if self.force.rest else ""
            return f"""
SELECT videos.video_id AS key, videos.video_id, videos.duration_s AS seconds
FROM videos LEFT SEMI JOIN ({NEWEST}) AS newest ON newest.video_id = videos.video_id {since}"""
        inputs = {
            "clip": f"""
SELECT s.clip_id AS key, s.video_id, s.end_s - s.start_s AS seconds FROM ({self._spans()}) AS s
LEFT SEMI JOIN videos ON videos.video_id = s.video_id""",
            "analyze": f"SELECT clip_id AS key, video_id, duration_s AS seconds FROM ({self._current('clips')})",
            "caption": self._to_caption(),
            "enhance": self._captioned(),
            "align": f"""
SELECT captioned.* FROM ({self._captioned()}) AS captioned
LEFT SEMI JOIN ({self._current("embeddings")}) AS embedded ON embedded.clip_id = captioned.key""",
        }
        return self._touched(inputs.get(stage) or f"SELECT clip_id AS key, video_id, seconds FROM ({self._passing()})")

    def _touched(self, inputs: str) -> str:
        """The inputs of clips that wait, have rows of runs since the rest, or whose video has been replaced since."""
        if not self.force.rest:
            return inputs
        since = f"run_id > {literal(self.force.rest)}"
        tables = (*WORKED_ON, *self.force.settings.get("custom", {}))
        new = [f"SELECT clip_id FROM {quoted(name)} WHERE {since}" for name in tables]
        replaced = f"""
SELECT spans.clip_id FROM spans LEFT SEMI JOIN (
  SELECT video_id FROM videos LEFT SEMI JOIN (SELECT uri FROM videos WHERE {since}) AS fresh ON fresh.uri = videos.uri
) AS replaced ON replaced.video_id = spans.video_id"""
        touched = " UNION ALL ".join([*new, replaced, *([self._waiting()] if self.force.waiting else [])])
        return f"SELECT i.* FROM ({inputs}) AS i LEFT SEMI JOIN ({touched}) AS touched ON touched.clip_id = i.key"

    def _or_waits(self) -> str:
        return f"OR videos.video_id IN ({self._waiting()})" if self.force.waiting else ""

    def _waiting(self) -> str:
        """The inputs that failed in the run that noted the rest, and are tried again."""
        return f"SELECT key FROM failures WHERE run_id = {literal(self.force.waiting or '')} AND code IN ({RETRIED})"

    def _fingerprint(self, stage: str) -> str:
        return literal(self.force.fingerprints.get(stage, NEVER))

    def _made(self, table: str) -> str:
        """The rows of a table that the settings in force made."""
        return f"SELECT * FROM {quoted(table)} WHERE fingerprint = {self._fingerprint(owners()[table].stage)}"

    def _spans(self) -> str:
        """The spans that these settings made, of videos that no newer file supersedes."""
        return f"""
SELECT made.* FROM ({self._made("spans")}) AS made
LEFT ANTI JOIN ({SUPERSEDED}) AS superseded ON superseded.video_id = made.video_id"""

    def _current(self, table: str) -> str:
        """The rows of a table that these settings made, of spans that are current."""
        return f"""
SELECT made.* FROM ({self._made(table)}) AS made
LEFT SEMI JOIN ({self._spans()}) AS valid ON valid.clip_id = made.clip_id"""

    def _gated(self) -> str:
        """The clips that pass the gates on signals."""
        return f"""
SELECT clips.clip_id, clips.video_id, clips.duration_s AS seconds FROM ({self._current("clips")}) AS clips
JOIN (SELECT clip_id, {GATED} FROM ({self._made("signals")})) AS signals ON signals.clip_id = clips.clip_id
WHERE {self._passes(signal_gates(self.force.filter))}"""

    def _passes(self, gates: list[Gate]) -> str:
        """Whether a row fails none of these gates."""
        drops_unscored = self.force.filter.unscored == "drop"
        parts = [f"NOT coalesce({gate.fails}, false)" for gate in gates]
        parts += [f"{gate.score} IS NOT NULL" for gate in gates if drops_unscored]
        return " AND ".join(parts) or "true"

    def _passing(self) -> str:
        """What models are asked about: the clips that pass the gates so far and are no copies."""
        if not self.force.filter.duplicates:
            return self._gated()
        return f"""
SELECT gated.* FROM ({self._gated()}) AS gated
LEFT ANTI JOIN (
  SELECT copies.clip_id FROM ({self._made("copies")}) AS copies
  LEFT SEMI JOIN ({self._gated()}) AS kept ON kept.clip_id = copies.copy_of
  LEFT ANTI JOIN ({self._failing()}) AS failing ON failing.clip_id = copies.copy_of) AS copies
  ON copies.clip_id = gated.clip_id"""

    def _with_copies(self) -> str:
        """The clips that pass the gates so far, with what each is a copy of; `is_new` if its row is not valid."""
        return f"""
SELECT gated.*, found.copy_of, kept.clip_id IS NULL AS is_new FROM ({self._gated()}) AS gated
LEFT JOIN ({self._made("copies")}) AS found ON found.clip_id = gated.clip_id
LEFT JOIN (
  SELECT gated.clip_id FROM ({self._gated()}) AS gated
  LEFT SEMI JOIN ({self._made("copies")}) AS copies
    ON copies.clip_id = gated.clip_id AND copies.copy_of IS NULL) AS kept
  ON kept.clip_id = coalesce(found.copy_of, gated.clip_id)"""

    def _copies_to_find(self) -> str:
        """The clips to compare by their hashes."""
        inputs = f"SELECT clip_id AS key, video_id, seconds FROM ({self._with_copies()}) WHERE is_new"
        return self._touched(inputs)

    def _to_link(self) -> str:
        """The clips that dedup links, and those whose link it drops."""
        duplicates = self.force.filter.duplicates
        is_copy = "NOT c.is_new AND c.copy_of IS NOT NULL AND f.clip_id IS NULL" if duplicates else "false"
        clips = f"""
SELECT c.clip_id, c.video_id, c.seconds, CASE WHEN {is_copy} THEN c.copy_of END AS copy_of
FROM ({self._with_copies()}) AS c LEFT JOIN ({self._embedded()}) AS e ON e.clip_id = c.clip_id
LEFT JOIN ({self._failing()}) AS f ON f.clip_id = c.copy_of
WHERE ({is_copy}) OR e.clip_id IS NOT NULL"""
        links = f"""
SELECT clip_id, CASE WHEN method = 'phash' THEN duplicate_of END AS copy_of FROM duplicates
WHERE fingerprint = {self._fingerprint("dedup")} AND version = ({self._version()})"""
        pairs = f"""
SELECT coalesce(clips.clip_id, links.clip_id) AS key, clips.video_id, clips.seconds,
       clips.clip_id IS NOT NULL AND links.clip_id IS NOT NULL
         AND coalesce(clips.copy_of, '') = coalesce(links.copy_of, '') AS is_linked
FROM ({clips}) AS clips FULL OUTER JOIN ({links}) AS links ON links.clip_id = clips.clip_id"""
        return self._touched(f"SELECT key, video_id, seconds FROM ({pairs}) WHERE NOT is_linked")

    def _version(self) -> str:
        """The version of the newest centers, or where there are none, of the links."""
        made_by = f"fingerprint = {self._fingerprint('dedup')}"
        versions = (f"SELECT max(version) FROM {table} WHERE {made_by}" for table in ("centroids", "duplicates"))
        return f"SELECT coalesce({', '.join(f'({query})' for query in versions)})"

    def _failing(self) -> str:
        """The clips that fail a gate on what models found, or lack its score because their stage gave them up."""
        found = self._failing_by_verdict([gate for gate in self._gates() if gate.fails is not None])
        if (gate := aesthetic_gate(self.force.filter)) is None:
            return found
        aesthetics = f"SELECT clip_id, {self._aesthetic()} AS {gate.score} FROM ({self._made('aesthetics')})"
        found += f" UNION SELECT clip_id FROM ({aesthetics}) WHERE coalesce({gate.fails}, false)"
        if self.force.filter.unscored == "drop":
            found += f"""
UNION SELECT failed.key AS clip_id FROM ({self._given_up("aesthetic")}) AS failed
LEFT ANTI JOIN (SELECT * FROM ({aesthetics}) WHERE {gate.score} IS NOT NULL) AS scored ON scored.clip_id = failed.key"""
        return found

    def _gates(self) -> list[StoredGate]:
        """The gates that only Spark can apply: `filter.where`, and those of the user's own stages."""
        own = self.force.settings.get("custom", {})
        known = stored_gates.gates(GateSettings(self.force.filter, own))
        return [gate for gate in known if gate.fails is None or gate.reason in own]

    def _failing_by_verdict(self, gates: list[StoredGate]) -> str:
        """The clips that failed one of these gates in the last run of `filter`, if that was by these settings."""
        codes = ", ".join(literal(code) for gate in gates for code in (gate.reason, f"{gate.score}_missing"))
        failed = f"exists(reasons, reason -> reason IN ({codes}))" if codes else "false"
        last = "SELECT max_by(fingerprint, started_at) FROM runs WHERE stage = 'filter'"
        return f"SELECT clip_id FROM verdicts WHERE {failed} AND ({last}) = {self._fingerprint('filter')}"

    def _aesthetic(self) -> str:
        return f"score_{self.force.filter.aesthetic_reduction}"

    def _embedded(self) -> str:
        """The clips that have a vector and pass the gates on more than signals."""
        gate = aesthetic_gate(self.force.filter)
        scored = f", {self._aesthetic()} AS {gate.score}" if gate else ""
        return f"""
SELECT embeddings.clip_id FROM ({self._made("embeddings")}) AS embeddings
LEFT JOIN (SELECT clip_id{scored} FROM ({self._made("aesthetics")})) AS scores
  ON scores.clip_id = embeddings.clip_id
LEFT ANTI JOIN ({self._failing_by_verdict(self._gates())}) AS failed ON failed.clip_id = embeddings.clip_id
WHERE {self._passes([gate] if gate else [])}"""

    def _to_judge(self) -> str:
        """The clips without a verdict, and the verdicts on clips that are not current."""
        pairs = f"""
SELECT coalesce(clips.clip_id, verdicts.clip_id) AS key, clips.video_id, clips.duration_s AS seconds,
       clips.clip_id IS NOT NULL AND verdicts.clip_id IS NOT NULL AS is_judged
FROM ({self._current("clips")}) AS clips
FULL OUTER JOIN verdicts ON verdicts.clip_id = clips.clip_id"""
        return self._touched(f"SELECT key, video_id, seconds FROM ({pairs}) WHERE NOT is_judged")

    def _to_caption(self) -> str:
        """The clips that filter kept, or all that have signals."""
        only_kept = self.force.settings.get("caption", {}).get("only_kept", True)
        kept = "LEFT SEMI JOIN (SELECT clip_id FROM verdicts WHERE kept) AS kept ON kept.clip_id = clips.clip_id"
        return f"""
SELECT clips.clip_id AS key, clips.video_id, clips.duration_s AS seconds FROM ({self._current("clips")}) AS clips
LEFT SEMI JOIN ({self._made("signals")}) AS signals ON signals.clip_id = clips.clip_id
{kept if only_kept else ""}"""

    def _captioned(self) -> str:
        """The clips that have captions."""
        return f"""
SELECT clips.clip_id AS key, clips.video_id, clips.duration_s AS seconds FROM ({self._current("clips")}) AS clips
LEFT SEMI JOIN ({self._made("captions")}) AS captions ON captions.clip_id = clips.clip_id"""
