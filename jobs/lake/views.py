"""SQL views of an output: every table, its current rows (`current_*`), and the views of VIEWS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from jobs.lake.owners import Owner, owners
from schemas import TABLES, custom_tables
from schemas.custom import scores_of
from schemas.table import Table


def comments(table: Table) -> dict[str, str]:
    """The columns of a table with their comments."""
    return {field.name: field.metadata[b"comment"].decode() for field in table.schema}


COMMENTS = {name: comments(table) for name, table in TABLES.items()}


@dataclass(frozen=True)
class View:
    """A query over tables and other views.

    `sql` writes each of its `sources` as {name}, which is filled in with what SQL calls it: temporary
    views go by their names alone, permanent ones by the names of their schema.
    """

    name: str
    sources: tuple[str, ...]
    about: str
    columns: Mapping[str, str]  # each with its comment, in the order of the query
    sql: str

    def query(self, names: Mapping[str, str], reduction: str) -> str:
        """The query, with the names of its sources.

        `reduction` makes the aesthetic score of a clip from those of its frames.
        """
        return self.sql.format(**{source: names[source] for source in self.sources}, reduction=reduction)


def _of(table: str, *columns: str) -> dict[str, str]:
    """Columns of a table with their comments."""
    return {name: COMMENTS[table][name] for name in columns}


VIDEO_URI = {"video_uri": "where the source video lies"}
SPAN = _of("spans", "start_s", "end_s")
PREVIEW = {"preview": "first animated WebP file of the clip; NULL without one"}
DURATION_S = {"duration_s": "seconds of these clips, in all"}

CURRENT_VIDEOS = View(
    "current_videos",
    ("videos",),
    "The newest row of videos per uri: an older one is of a file that was replaced.",
    COMMENTS["videos"],
    """
SELECT videos.* FROM {videos} AS videos
LEFT SEMI JOIN (SELECT max_by(video_id, run_id) AS video_id FROM {videos} GROUP BY uri) AS newest
  ON newest.video_id = videos.video_id
""",
)


# Where the scores and the tables of the user's own stages come in.
MORE_SCORES, MORE_DONE = "/* more scores */", "/* more done */"
# The columns that `verdicts` leaves out, since they are long. An engine skips a join whose columns a query does not
# name, where grouping shows that it gives one row per key.
SIGNALS = """
LEFT JOIN (SELECT clip_id, any_value(phash) AS phash, any_value(proxy_uri) AS proxy_uri,
                  any_value(previews) AS previews FROM {current_signals} GROUP BY clip_id) AS signals
  ON signals.clip_id = verdicts.clip_id
"""

CLIP_ORIGINS = View(
    "clip_origins",
    ("verdicts", "current_signals"),
    "One row per clip: the video and the seconds that it was cut from, its file and a preview.",
    _of("clips", "clip_id", "video_id") | VIDEO_URI | SPAN | _of("clips", "uri", "duration_s") | PREVIEW,
    f"""
SELECT verdicts.clip_id, verdicts.video_id, verdicts.video_uri, verdicts.start_s, verdicts.end_s, verdicts.uri,
       verdicts.duration_s, try_element_at(signals.previews, 1).uri AS preview
FROM {{verdicts}} AS verdicts {SIGNALS}
""",
)


CURATED = View(
    "curated",
    (
        *("verdicts", "current_clips", "videos", "current_signals", "current_embeddings"),
        *("current_captions", "current_enhanced", "current_alignments"),
    ),
    "One row per clip that was kept, with all that is known of it.",
    _of("clips", "clip_id", "video_id")
    | VIDEO_URI
    | _of("spans", "start_s", "end_s", "start_frame", "end_frame", "method")
    | _of("clips", "uri", "sha256", "num_bytes", "width", "height", "framerate", "num_frames", "duration_s")
    | _of("clips", "video_codec", "audio_codec")
    | _of("signals", "motion_score_global_mean", "motion_score_per_patch_min_256", "motion_source", "blackness")
    | _of("signals", "freeze", "blur", "letterbox", "phash", "proxy_uri", "previews")
    | {
        "aesthetic_score": "the frames' aesthetic scores, reduced as filter.aesthetic_reduction says",
        "embedding_model": COMMENTS["verdicts"]["embedding_model"],
        "embedding": COMMENTS["embeddings"]["vector"],
    }
    | _of("duplicates", "cluster_id")
    | {"captions": "captions of the clip's windows in time order, each with its model, prompt, checks and alignment"}
    | _of("videos", "attributes"),
    f"""
SELECT verdicts.clip_id, verdicts.video_id, verdicts.video_uri, verdicts.start_s, verdicts.end_s,
       verdicts.start_frame, verdicts.end_frame, verdicts.method, verdicts.uri, clips.sha256, verdicts.num_bytes,
       verdicts.width, verdicts.height, verdicts.framerate, verdicts.num_frames, verdicts.duration_s,
       verdicts.video_codec, verdicts.audio_codec, verdicts.motion_score_global_mean,
       verdicts.motion_score_per_patch_min_256, verdicts.motion_source, verdicts.blackness, verdicts.freeze,
       verdicts.blur, verdicts.letterbox, signals.phash, signals.proxy_uri, signals.previews,
       verdicts.aesthetic_score_{{reduction}} AS aesthetic_score, verdicts.embedding_model,
       embeddings.vector AS embedding, verdicts.cluster_id, texts.captions, videos.attributes{MORE_SCORES}
FROM {{verdicts}} AS verdicts {SIGNALS}
LEFT JOIN (SELECT clip_id, any_value(sha256) AS sha256 FROM {{current_clips}} GROUP BY clip_id) AS clips
  ON clips.clip_id = verdicts.clip_id
LEFT JOIN (SELECT video_id, any_value(attributes) AS attributes FROM {{videos}} GROUP BY video_id) AS videos
  ON videos.video_id = verdicts.video_id
LEFT JOIN (SELECT clip_id, any_value(vector) AS vector FROM {{current_embeddings}} GROUP BY clip_id) AS embeddings
  ON embeddings.clip_id = verdicts.clip_id
LEFT JOIN (
  SELECT captions.clip_id,
         array_sort(collect_list(struct(captions.start_frame, captions.end_frame, captions.model, captions.prompt,
                                        captions.caption, captions.stage2_caption, enhanced.enhanced_caption,
                                        captions.checks, alignments.alignment))) AS captions
  FROM {{current_captions}} AS captions
  LEFT JOIN {{current_enhanced}} AS enhanced
    ON enhanced.clip_id = captions.clip_id AND enhanced.start_frame = captions.start_frame
  LEFT JOIN {{current_alignments}} AS alignments
    ON alignments.clip_id = captions.clip_id AND alignments.start_frame = captions.start_frame
  GROUP BY captions.clip_id) AS texts ON texts.clip_id = verdicts.clip_id
WHERE verdicts.kept
""",
)


# The fields of NeMo Curator's ClipStats.
CLIP_STATS = View(
    "clip_stats",
    ("verdicts",),
    "One row per video and run that cut its clips: how many clips got how far.",
    _of("clips", "video_id", "run_id")
    | {
        "num_filtered_by_motion": "clips that a motion gate dropped",
        "num_filtered_by_aesthetic": "clips that the aesthetic gate dropped",
        "num_passed": "clips that were kept",
        "num_transcoded": "clips that were encoded, not copied",
        "num_with_embeddings": "clips with a vector",
        "num_with_caption": "clips with a caption",
        "num_with_webp": "clips with a preview",
        "total_clip_duration": "seconds of all clips",
        "max_clip_duration": "seconds of the longest clip",
    },
    """
SELECT video_id, cut_run_id AS run_id,
       count_if(exists(reasons, reason -> reason LIKE 'motion%')) AS num_filtered_by_motion,
       count_if(exists(reasons, reason -> reason LIKE 'aesthetic%')) AS num_filtered_by_aesthetic,
       count_if(kept) AS num_passed, count_if(encoder <> 'copy') AS num_transcoded,
       count(embedding_model) AS num_with_embeddings, count_if(num_captions > 0) AS num_with_caption,
       count_if(num_previews > 0) AS num_with_webp,
       sum(duration_s) AS total_clip_duration, max(duration_s) AS max_clip_duration
FROM {verdicts}
GROUP BY video_id, cut_run_id
""",
)

FUNNEL = View(
    "funnel",
    ("current_videos", "current_spans", "verdicts"),
    "One row per step from videos to kept clips: how many came through.",
    {"step": "what is counted", "count": "how many there are", "hours": "hours of video in them"},
    """
SELECT step, count, hours FROM (
  SELECT 1 AS place, 'videos' AS step, count(*) AS count, sum(duration_s) / 3600 AS hours FROM {current_videos}
  UNION ALL SELECT 2, 'spans', count(*), sum(end_s - start_s) / 3600 FROM {current_spans}
  UNION ALL SELECT 3, 'clips', count(*), sum(duration_s) / 3600 FROM {verdicts}
  UNION ALL SELECT 4, 'clips with signals', count(*), sum(duration_s) / 3600 FROM {verdicts} WHERE measured
  UNION ALL SELECT 5, 'clips with an embedding', count(*), sum(duration_s) / 3600
    FROM {verdicts} WHERE embedding_model IS NOT NULL
  UNION ALL SELECT 6, 'clips kept', count(*), sum(duration_s) / 3600 FROM {verdicts} WHERE kept
  UNION ALL SELECT 7, 'clips with captions', count(*), sum(duration_s) / 3600
    FROM {verdicts} WHERE kept AND num_captions > 0
) ORDER BY place
""",
)

DROPPED = View(
    "dropped",
    ("verdicts", "current_signals"),
    "One row per clip that was not kept, and why.",
    _of("verdicts", "clip_id")
    | VIDEO_URI
    | SPAN
    | {"reasons": "codes of the gates that it failed", "duplicate_of": COMMENTS["verdicts"]["duplicate_of"]}
    | _of("clips", "uri")
    | PREVIEW,
    f"""
SELECT verdicts.clip_id, verdicts.video_uri, verdicts.start_s, verdicts.end_s, verdicts.reasons,
       verdicts.duplicate_of, verdicts.uri, try_element_at(signals.previews, 1).uri AS preview
FROM {{verdicts}} AS verdicts {SIGNALS}
WHERE NOT verdicts.kept
""",
)

# No table has what an export could use: of those into the same folder, the failures of the last one count.
TRIED = """
(SELECT failures.* FROM {failures} AS failures
 LEFT ANTI JOIN (
   SELECT stage, run_id FROM (
     SELECT stage, run_id, max(run_id) OVER (PARTITION BY exported_to) AS newest FROM {runs} WHERE stage = 'export')
   WHERE run_id < newest) AS earlier
   ON earlier.stage = failures.stage AND earlier.run_id = failures.run_id)
"""
# An input that a later run could use has not failed any more, nor one that no run would try now.
FAILED = View(
    "failed",
    (
        *("failures", "videos", "spans", "clips", "signals", "aesthetics", "embeddings", "captions", "enhanced"),
        *("alignments", "current_videos", "current_spans", "runs"),
    ),
    "One row per input that a stage could not use when it last tried, but for replaced videos and superseded spans. "
    "Of exports, the last one into each folder counts.",
    _of("failures", "stage", "key")
    | VIDEO_URI
    | {"start_s": "second at which the clip begins; NULL for a whole video"}
    | _of("failures", "code", "message", "attempts", "failed_at", "run_id"),
    f"""
SELECT failures.stage, failures.key,
       coalesce(videos_of_spans.uri, videos.uri, failures.key) AS video_uri, spans.start_s,
       failures.code, failures.message, failures.attempts, failures.failed_at, failures.run_id
FROM (
  SELECT stage, key, last.*
  FROM (SELECT stage, key, max_by(struct(code, message, attempts, failed_at, run_id), failed_at) AS last
        FROM {TRIED} GROUP BY stage, key)) AS failures
LEFT ANTI JOIN (
  SELECT 'ingest' AS stage, uri AS key, run_id FROM {{videos}}
  UNION ALL SELECT 'split', video_id, run_id FROM {{spans}}
  UNION ALL SELECT 'clip', clip_id, run_id FROM {{clips}}
  UNION ALL SELECT 'analyze', clip_id, run_id FROM {{signals}}
  UNION ALL SELECT 'aesthetic', clip_id, run_id FROM {{aesthetics}}
  UNION ALL SELECT 'embed', clip_id, run_id FROM {{embeddings}}
  UNION ALL SELECT 'caption', clip_id, run_id FROM {{captions}}
  UNION ALL SELECT 'enhance', clip_id, run_id FROM {{enhanced}}
  UNION ALL SELECT 'align', clip_id, run_id FROM {{alignments}}/* more done */) AS done
  ON done.stage = failures.stage AND done.key = failures.key AND done.run_id > failures.run_id
LEFT JOIN (SELECT clip_id, min(video_id) AS video_id, min(start_s) AS start_s FROM {{spans}}
           WHERE clip_id IN (SELECT key FROM {{failures}}) GROUP BY clip_id) AS spans
  ON spans.clip_id = failures.key
LEFT JOIN {{videos}} AS videos_of_spans ON videos_of_spans.video_id = spans.video_id
LEFT JOIN {{videos}} AS videos ON videos.video_id = failures.key
LEFT JOIN (
  SELECT video_id AS key FROM {{current_videos}}
  UNION ALL SELECT clip_id FROM {{current_spans}} WHERE clip_id IN (SELECT key FROM {{failures}})) AS inputs
  ON inputs.key = failures.key
WHERE (failures.stage IN ('ingest', 'export') OR inputs.key IS NOT NULL)
  AND (spans.clip_id IS NULL OR videos_of_spans.video_id IS NOT NULL)
""",
)

DUPLICATE_GROUPS = View(
    "duplicate_groups",
    ("verdicts", "duplicates", "clip_origins"),
    "One row per clip that stands for others, which are its members.",
    _of("clips", "clip_id")
    | VIDEO_URI
    | SPAN
    | _of("clips", "uri")
    | PREVIEW
    | {"num_duplicates": "members", "num_videos": "videos that the members are from"}
    | DURATION_S
    | {
        "members": "the clips that it stands for, with where each is from, "
        "and how alike it is to the clip it is linked to"
    },
    """
SELECT verdicts.duplicate_of AS clip_id, kept.video_uri, kept.start_s, kept.end_s, kept.uri, kept.preview,
       count(*) AS num_duplicates, count(DISTINCT members.video_id) AS num_videos,
       sum(members.duration_s) AS duration_s,
       array_sort(collect_list(struct(members.clip_id, members.video_uri, members.start_s, members.end_s, members.uri,
                                      members.preview, duplicates.method, duplicates.similarity,
                                      duplicates.duplicate_of))) AS members
FROM {verdicts} AS verdicts
JOIN {duplicates} AS duplicates ON duplicates.clip_id = verdicts.clip_id
JOIN {clip_origins} AS kept ON kept.clip_id = verdicts.duplicate_of
JOIN {clip_origins} AS members ON members.clip_id = verdicts.clip_id
GROUP BY ALL
""",
)

SIMILARITY_HISTOGRAM = View(
    "similarity_histogram",
    ("duplicates", "verdicts"),
    "One row per method and step of 0.01: how alike clips are to the clip that each is linked to.",
    _of("duplicates", "method")
    | {
        "similarity": "least similarity of the step",
        "num_clips": "clips in the step",
        "num_duplicates": "of these, those that count as duplicates at filter.duplicate_eps",
    },
    """
SELECT duplicates.method, floor(duplicates.similarity * 100) / 100 AS similarity, count(*) AS num_clips,
       count(verdicts.duplicate_of) AS num_duplicates
FROM {duplicates} AS duplicates JOIN {verdicts} AS verdicts ON verdicts.clip_id = duplicates.clip_id
WHERE duplicates.similarity IS NOT NULL
GROUP BY ALL
ORDER BY ALL
""",
)

SHARED_FOOTAGE = View(
    "shared_footage",
    ("verdicts", "clip_origins"),
    "One row per pair of videos of which one has duplicates of the other's clips.",
    VIDEO_URI | {"other_uri": "the video that has the clips which were kept", "num_clips": "duplicates"} | DURATION_S,
    """
SELECT members.video_uri, kept.video_uri AS other_uri, count(*) AS num_clips, sum(members.duration_s) AS duration_s
FROM {verdicts} AS verdicts
JOIN {clip_origins} AS members ON members.clip_id = verdicts.clip_id
JOIN {clip_origins} AS kept ON kept.clip_id = verdicts.duplicate_of
WHERE members.video_id <> kept.video_id
GROUP BY ALL
""",
)


NEMO = View(
    "nemo",
    (
        *("current_clips", "current_spans", "videos", "verdicts", "current_signals", "current_aesthetics"),
        *("current_embeddings", "current_captions", "current_enhanced", "failed"),
    ),
    "One row per clip, kept or not, as `export --format nemo` writes it.",
    _of("clips", "clip_id")
    | {"source_video": "where the source video lies", "span": "first and last second of the clip in the video"}
    | _of("spans", "start_frame", "end_frame", "method")
    | {
        "video": "size, rate, length and codecs of the source video",
        "encoded": "size, rate, length and codec of the clip's file",
        "motion_score": "mean flow of the clip, and of its least moving patch",
        "aesthetic_score": "the frames' aesthetic scores, reduced as filter.aesthetic_reduction says",
        "errors": "stages that could not use the clip; NULL if none",
        "previews": COMMENTS["signals"]["previews"],
        "embeddings": "vectors of the clip, each with its model",
        "captions": "captions of the clip's windows in time order",
        "kept": "whether the clip was kept; true before filter has run",
        "reasons": COMMENTS["verdicts"]["reasons"],
    },
    """
SELECT clips.clip_id, videos.uri AS source_video, array(spans.start_s, spans.end_s) AS span, spans.start_frame,
       spans.end_frame, spans.method,
       struct(videos.height, videos.width, videos.framerate, videos.num_frames, videos.duration_s AS duration,
              videos.video_codec, videos.pixel_format, videos.audio_codec AS audio_format) AS video,
       struct(clips.width, clips.height, clips.framerate, clips.num_frames, clips.video_codec,
              clips.num_bytes) AS encoded,
       struct(signals.motion_score_global_mean AS global_mean,
              signals.motion_score_per_patch_min_256 AS per_patch_min_256) AS motion_score,
       aesthetics.aesthetic_score, failed.errors, signals.previews, embeddings.embeddings, texts.captions,
       coalesce(verdicts.kept, true) AS kept, verdicts.reasons
FROM {current_clips} AS clips
JOIN {current_spans} AS spans ON spans.clip_id = clips.clip_id
JOIN {videos} AS videos ON videos.video_id = clips.video_id
LEFT JOIN {verdicts} AS verdicts ON verdicts.clip_id = clips.clip_id
LEFT JOIN {current_signals} AS signals ON signals.clip_id = clips.clip_id
LEFT JOIN (SELECT clip_id, score_{reduction} AS aesthetic_score FROM {current_aesthetics}) AS aesthetics
  ON aesthetics.clip_id = clips.clip_id
LEFT JOIN (SELECT clip_id, array_sort(collect_list(struct(model, vector))) AS embeddings
           FROM {current_embeddings} GROUP BY clip_id) AS embeddings ON embeddings.clip_id = clips.clip_id
LEFT JOIN (
  SELECT captions.clip_id,
         array_sort(collect_list(struct(captions.start_frame, captions.end_frame, captions.model, captions.prompt,
                                        captions.caption, captions.stage2_caption, enhanced.model AS enhanced_model,
                                        enhanced.enhanced_caption))) AS captions
  FROM {current_captions} AS captions
  LEFT JOIN {current_enhanced} AS enhanced
    ON enhanced.clip_id = captions.clip_id AND enhanced.start_frame = captions.start_frame
  GROUP BY captions.clip_id) AS texts ON texts.clip_id = clips.clip_id
LEFT JOIN (SELECT key, array_sort(collect_set(stage)) AS errors FROM {failed} WHERE stage <> 'export'
           GROUP BY key) AS failed ON failed.key = clips.clip_id
""",
)


COSTS = _of("runs", "cpu_s", "gpu_s", "bytes_in", "bytes_out", "cost_usd")
TIMES = {"started_at": "when it began", "ended_at": "when it ended"}

STAGE_COSTS = View(
    "stage_costs",
    ("runs",),
    "One row per run and stage that carried videos on: what it did, and what it cost.",
    _of("runs", "run_id", "stage")
    | TIMES
    | {"seconds": "seconds that its waves took; between them other stages are at work"}
    | _of("runs", "num_in", "num_out", "num_failed")
    | {"media_hours": "hours of media that went in, NULL where it is not known before"}
    | COSTS,
    """
SELECT run_id, stage, min(started_at) AS started_at, max(ended_at) AS ended_at,
       sum(unix_millis(ended_at) - unix_millis(started_at)) / 1000 AS seconds,
       sum(num_in) AS num_in, sum(num_out) AS num_out, sum(num_failed) AS num_failed,
       sum(media_s) / 3600 AS media_hours, sum(cpu_s) AS cpu_s, sum(gpu_s) AS gpu_s,
       sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out,
       CASE WHEN count(cost_usd) = count(*) THEN sum(cost_usd) END AS cost_usd
FROM {runs}
WHERE stage NOT IN ('curate', 'export', 'maintain', 'takedown')
GROUP BY run_id, stage
""",
)

RUN_SUMMARY = View(
    "run_summary",
    ("stage_costs", "verdicts"),
    "One row per run: the videos it split, the clips it cut, those that are kept today, and what it cost.",
    _of("runs", "run_id")
    | TIMES
    | {
        "num_ingested": "files that could be probed",
        "num_videos": "videos that were split",
        "video_hours": "hours of these videos",
        "num_clips": "clips that were cut",
        "num_kept": "of these, those that the verdicts of today keep",
        "num_failed": "rows written to failures",
    }
    | COSTS
    | {"usd_per_clip": "$ per clip that was cut", "usd_per_video_hour": "$ per hour of video that was split"},
    """
SELECT *, try_divide(cost_usd, num_clips) AS usd_per_clip, try_divide(cost_usd, video_hours) AS usd_per_video_hour
FROM (
  SELECT stage_costs.run_id, min(stage_costs.started_at) AS started_at, max(stage_costs.ended_at) AS ended_at,
         sum(CASE WHEN stage_costs.stage = 'ingest' THEN stage_costs.num_out ELSE 0 END) AS num_ingested,
         sum(CASE WHEN stage_costs.stage = 'split' THEN stage_costs.num_in ELSE 0 END) AS num_videos,
         sum(CASE WHEN stage_costs.stage = 'split' THEN stage_costs.media_hours ELSE 0 END) AS video_hours,
         sum(CASE WHEN stage_costs.stage = 'clip' THEN stage_costs.num_out ELSE 0 END) AS num_clips,
         coalesce(max(kept.num_kept), 0) AS num_kept, sum(stage_costs.num_failed) AS num_failed,
         sum(stage_costs.cpu_s) AS cpu_s, sum(stage_costs.gpu_s) AS gpu_s,
         sum(stage_costs.bytes_in) AS bytes_in, sum(stage_costs.bytes_out) AS bytes_out,
         CASE WHEN count(stage_costs.cost_usd) = count(*) THEN sum(stage_costs.cost_usd) END AS cost_usd
  FROM {stage_costs} AS stage_costs
  LEFT JOIN (SELECT cut_run_id AS run_id, count_if(kept) AS num_kept FROM {verdicts} GROUP BY cut_run_id) AS kept
    ON kept.run_id = stage_costs.run_id
  GROUP BY stage_costs.run_id)
""",
)


# Each after its sources; the views current_* of tables come before them.
VIEWS = (
    *(STAGE_COSTS, RUN_SUMMARY, CLIP_ORIGINS, DROPPED, FAILED, DUPLICATE_GROUPS, SIMILARITY_HISTOGRAM, SHARED_FOOTAGE),
    *(CURATED, CLIP_STATS, FUNNEL, NEMO),
)


def every(fingerprint: Callable[[str], str]) -> list[View]:
    """Every view of an output, each after its sources; `fingerprint` gives that of a stage's rows that count."""
    current = (_current(name, owner, fingerprint(owner.stage)) for name, owner in owners().items())
    return [CURRENT_VIDEOS, *current, *map(_with_custom, VIEWS)]


def _with_custom(view: View) -> View:
    """A view with the scores of the user's own stages, and with what they failed to do."""
    tables = custom_tables()
    if MORE_SCORES in view.sql:
        named = {score: comments(table)[name] for table in tables for name, score in scores_of(table).items()}
        more = "".join(f", verdicts.{name}" for name in named)
        return replace(view, columns={**view.columns, **named}, sql=view.sql.replace(MORE_SCORES, more))
    if MORE_DONE in view.sql:
        names = tuple(table.name for table in tables)
        more = "".join(f"\n  UNION ALL SELECT '{name}', clip_id, run_id FROM {{{name}}}" for name in names)
        return replace(view, sources=(*view.sources, *names), sql=view.sql.replace(MORE_DONE, more))
    return view


def _current(name: str, owner: Owner, fingerprint: str) -> View:
    """The rows that `Run.current` gives, as a view."""
    if owner.upstream is None:
        sources = (name, "videos")
        of_uri = "SELECT video_id, row_number() OVER (PARTITION BY uri ORDER BY run_id DESC) AS place FROM {videos}"
        superseded = f"SELECT video_id FROM ({of_uri}) WHERE place > 1"
        join = f"LEFT ANTI JOIN ({superseded}) AS superseded ON superseded.video_id = {name}.video_id"
    else:  # its fingerprint holds those of all stages between, so that only its span has to be current
        sources = (name, "current_spans")
        join = f"LEFT SEMI JOIN {{current_spans}} AS current_spans ON current_spans.clip_id = {name}.clip_id"
    return View(
        f"current_{name}",
        sources,
        f"The rows of {name} that the settings of the last run made, of the videos as they are now.",
        comments(TABLES[name]),
        f"SELECT {name}.* FROM {{{name}}} AS {name} {join} WHERE {name}.fingerprint = '{fingerprint}'",
    )
