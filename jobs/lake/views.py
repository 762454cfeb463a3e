"""The tables of an output -> SQL views: each table by its name, `current_*`, and those of VIEWS; in a schema, permanent ones."""

from __future__ import annotations

import re

from jobs.lake.run import BELONGS, Run
from schemas import TABLES

# The rows of `run.newest_videos`.
CURRENT_VIDEOS = """
SELECT r.* FROM videos r
LEFT SEMI JOIN (SELECT max_by(video_id, run_id) AS video_id FROM videos GROUP BY uri) n ON n.video_id = r.video_id
"""

SUPERSEDED = "SELECT video_id FROM videos LEFT ANTI JOIN current_videos USING (video_id)"

CURATED = """
SELECT c.clip_id, c.video_id, v.uri AS video_uri, s.start_s, s.end_s, s.start_frame, s.end_frame, s.method,
       c.uri, c.sha256, c.num_bytes, c.width, c.height, c.framerate, c.num_frames, c.duration_s, c.video_codec, c.audio_codec,
       g.motion_score_global_mean, g.motion_score_per_patch_min_256, g.motion_source,
       g.blackness, g.freeze, g.blur, g.letterbox, g.phash, g.proxy_uri, g.previews,
       a.aesthetic_score, e.model AS embedding_model, e.vector AS embedding, d.cluster_id, t.captions, v.attributes
FROM verdicts k
JOIN current_clips c ON c.clip_id = k.clip_id
JOIN current_spans s ON s.clip_id = k.clip_id
JOIN videos v ON v.video_id = c.video_id
LEFT JOIN current_signals g ON g.clip_id = k.clip_id
LEFT JOIN (SELECT clip_id, score_{reduction} AS aesthetic_score FROM current_aesthetics) a ON a.clip_id = k.clip_id
LEFT JOIN current_embeddings e ON e.clip_id = k.clip_id
LEFT JOIN duplicates d ON d.clip_id = k.clip_id
LEFT JOIN (SELECT p.clip_id, array_sort(collect_list(struct(p.start_frame, p.end_frame, p.model, p.prompt, p.caption,
                                                            p.stage2_caption, n.enhanced_caption, p.checks,
                                                            g.alignment))) AS captions
           FROM current_captions p LEFT JOIN current_enhanced n ON n.clip_id = p.clip_id AND n.start_frame = p.start_frame
                                   LEFT JOIN current_alignments g ON g.clip_id = p.clip_id AND g.start_frame = p.start_frame
           GROUP BY p.clip_id) t ON t.clip_id = k.clip_id
WHERE k.kept
"""

# The fields of NeMo Curator's ClipStats, a row a video and run that cut its clips.
CLIP_STATS = """
SELECT c.video_id, c.run_id,
       count_if(exists(k.reasons, r -> r LIKE 'motion%')) AS num_filtered_by_motion,
       count_if(exists(k.reasons, r -> r LIKE 'aesthetic%')) AS num_filtered_by_aesthetic,
       count_if(k.kept) AS num_passed,
       count_if(c.encoder <> 'copy') AS num_transcoded,
       count(e.clip_id) AS num_with_embeddings,
       count(t.clip_id) AS num_with_caption,
       count_if(size(g.previews) > 0) AS num_with_webp,
       sum(c.duration_s) AS total_clip_duration,
       max(c.duration_s) AS max_clip_duration
FROM current_clips c
LEFT JOIN verdicts k ON k.clip_id = c.clip_id
LEFT JOIN current_signals g ON g.clip_id = c.clip_id
LEFT JOIN (SELECT DISTINCT clip_id FROM current_embeddings) e ON e.clip_id = c.clip_id
LEFT JOIN (SELECT DISTINCT clip_id FROM current_captions) t ON t.clip_id = c.clip_id
GROUP BY c.video_id, c.run_id
"""

FUNNEL = """
SELECT step, count, hours FROM (
SELECT 1 AS n, 'videos' AS step, count(*) AS count, sum(duration_s) / 3600 AS hours FROM current_videos
UNION ALL SELECT 2, 'spans', count(*), sum(end_s - start_s) / 3600 FROM current_spans
UNION ALL SELECT 3, 'clips', count(*), sum(duration_s) / 3600 FROM current_clips
UNION ALL SELECT 4, 'clips with signals', count(*), sum(c.duration_s) / 3600
  FROM current_clips c LEFT SEMI JOIN current_signals g ON g.clip_id = c.clip_id
UNION ALL SELECT 5, 'clips with an embedding', count(*), sum(c.duration_s) / 3600
  FROM current_clips c LEFT SEMI JOIN current_embeddings e ON e.clip_id = c.clip_id
UNION ALL SELECT 6, 'clips kept', count(*), sum(duration_s) / 3600 FROM curated
UNION ALL SELECT 7, 'clips with captions', count(*), sum(duration_s) / 3600 FROM curated WHERE captions IS NOT NULL
) ORDER BY n
"""

# A row a clip that stands for others, which are its members; everything a page of them needs.
DUPLICATE_GROUPS = """
SELECT k.duplicate_of AS clip_id, s.video_uri, s.start_s, s.end_s, s.uri, s.preview,
       count(*) AS num_duplicates, count(DISTINCT m.video_id) AS num_videos, sum(m.duration_s) AS duration_s,
       array_sort(collect_list(struct(m.clip_id, m.video_uri, m.start_s, m.end_s, m.uri, m.preview,
                                      d.method, d.similarity, d.duplicate_of))) AS members
FROM verdicts k
JOIN duplicates d ON d.clip_id = k.clip_id
JOIN shown s ON s.clip_id = k.duplicate_of
JOIN shown m ON m.clip_id = k.clip_id
GROUP BY ALL
"""

# How alike the clips are to what they are linked to, in steps of 0.01, and how many of them are duplicates.
SIMILARITY_HISTOGRAM = """
SELECT d.method, floor(d.similarity * 100) / 100 AS similarity, count(*) AS num_clips, count(k.duplicate_of) AS num_duplicates
FROM duplicates d JOIN verdicts k ON k.clip_id = d.clip_id
WHERE d.similarity IS NOT NULL
GROUP BY ALL
ORDER BY ALL
"""

# Which videos share footage: a row for each two of them.
SHARED_FOOTAGE = """
SELECT m.video_uri, s.video_uri AS other_uri, count(*) AS num_clips, sum(m.duration_s) AS duration_s
FROM verdicts k
JOIN shown m ON m.clip_id = k.clip_id
JOIN shown s ON s.clip_id = k.duplicate_of
WHERE m.video_id <> s.video_id
GROUP BY ALL
"""

SHOWN = """
SELECT c.clip_id, c.video_id, v.uri AS video_uri, p.start_s, p.end_s, c.uri, c.duration_s, g.previews[0].uri AS preview
FROM current_clips c
JOIN current_spans p ON p.clip_id = c.clip_id
JOIN videos v ON v.video_id = c.video_id
LEFT JOIN current_signals g ON g.clip_id = c.clip_id
"""

# What NeMo Curator's folder layout tells of a clip, kept or not.
NEMO = """
SELECT c.clip_id, v.uri AS source_video, array(s.start_s, s.end_s) AS span, s.start_frame, s.end_frame, s.method,
       struct(v.height, v.width, v.framerate, v.num_frames, v.duration_s AS duration, v.video_codec, v.pixel_format,
              v.audio_codec AS audio_format) AS video,
       struct(c.width, c.height, c.framerate, c.num_frames, c.video_codec, c.num_bytes) AS encoded,
       struct(g.motion_score_global_mean AS global_mean, g.motion_score_per_patch_min_256 AS per_patch_min_256) AS motion_score,
       a.aesthetic_score, f.errors, g.previews, e.embeddings, t.captions, coalesce(k.kept, true) AS kept, k.reasons
FROM current_clips c
JOIN current_spans s ON s.clip_id = c.clip_id
JOIN videos v ON v.video_id = c.video_id
LEFT JOIN verdicts k ON k.clip_id = c.clip_id
LEFT JOIN current_signals g ON g.clip_id = c.clip_id
LEFT JOIN (SELECT clip_id, score_{reduction} AS aesthetic_score FROM current_aesthetics) a ON a.clip_id = c.clip_id
LEFT JOIN (SELECT clip_id, array_sort(collect_list(struct(model, vector))) AS embeddings
           FROM current_embeddings GROUP BY clip_id) e ON e.clip_id = c.clip_id
LEFT JOIN (SELECT p.clip_id, array_sort(collect_list(struct(p.start_frame, p.end_frame, p.model, p.prompt, p.caption,
                                                            p.stage2_caption, n.model AS enhanced_model,
                                                            n.enhanced_caption))) AS captions
           FROM current_captions p LEFT JOIN current_enhanced n ON n.clip_id = p.clip_id AND n.start_frame = p.start_frame
           GROUP BY p.clip_id) t ON t.clip_id = c.clip_id
LEFT JOIN (SELECT key, array_sort(collect_set(stage)) AS errors FROM failures WHERE stage <> 'export'
           GROUP BY key) f ON f.key = c.clip_id
"""

# A row a stage of a run that carried videos on.
STAGE_COSTS = """
SELECT run_id, stage, min(started_at) AS started_at, max(ended_at) AS ended_at,
       sum(num_in) AS num_in, sum(num_out) AS num_out, sum(num_failed) AS num_failed,
       sum(media_s) / 3600 AS media_hours, sum(cpu_s) AS cpu_s, sum(gpu_s) AS gpu_s,
       sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out,
       CASE WHEN count(cost_usd) = count(*) THEN sum(cost_usd) END AS cost_usd
FROM runs
WHERE stage NOT IN ('export', 'maintain', 'takedown')
GROUP BY run_id, stage
"""

# A row a run. Its videos are those it split, its clips those it cut; which of these are kept is said by the verdicts of today.
NIGHTS = """
SELECT *, try_divide(cost_usd, num_clips) AS usd_per_clip, try_divide(cost_usd, video_hours) AS usd_per_video_hour
FROM (
SELECT s.run_id, min(s.started_at) AS started_at, max(s.ended_at) AS ended_at,
       sum(CASE WHEN s.stage = 'ingest' THEN s.num_out ELSE 0 END) AS num_ingested,
       sum(CASE WHEN s.stage = 'split' THEN s.num_in ELSE 0 END) AS num_videos,
       sum(CASE WHEN s.stage = 'split' THEN s.media_hours ELSE 0 END) AS video_hours,
       sum(CASE WHEN s.stage = 'clip' THEN s.num_out ELSE 0 END) AS num_clips,
       coalesce(max(k.num_kept), 0) AS num_kept, sum(s.num_failed) AS num_failed,
       sum(s.cpu_s) AS cpu_s, sum(s.gpu_s) AS gpu_s, sum(s.bytes_in) AS bytes_in, sum(s.bytes_out) AS bytes_out,
       CASE WHEN count(s.cost_usd) = count(*) THEN sum(s.cost_usd) END AS cost_usd
FROM stage_costs s
LEFT JOIN (SELECT c.run_id, count_if(v.kept) AS num_kept
           FROM current_clips c JOIN verdicts v ON v.clip_id = c.clip_id GROUP BY c.run_id) k ON k.run_id = s.run_id
GROUP BY s.run_id)
"""

VIEWS = {
    "stage_costs": STAGE_COSTS,
    "nights": NIGHTS,
    "shown": SHOWN,
    "duplicate_groups": DUPLICATE_GROUPS,
    "similarity_histogram": SIMILARITY_HISTOGRAM,
    "shared_footage": SHARED_FOOTAGE,
    "curated": CURATED,
    "clip_stats": CLIP_STATS,
    "funnel": FUNNEL,
    "nemo": NEMO,
}


NAMED = re.compile(r"\b(FROM|JOIN) (\w+)")  # a table or view in a query


def register(run: Run) -> None:
    """Make the views of this output in the run's session; they cost nothing until they are asked."""
    for name in TABLES:
        run.tables.read(name).createOrReplaceTempView(name)
    for name, query in _queries(run).items():
        run.spark.sql(query).createOrReplaceTempView(name)


def publish(run: Run) -> None:
    """Make the views permanent ones of the run's schema, over all tables by their full names."""
    assert run.schema is not None
    queries, schema = _queries(run), run.schema
    known = {*TABLES, *queries}
    for name in TABLES:
        run.tables.make(name)
    for name, query in queries.items():
        full = NAMED.sub(lambda m: f"{m[1]} {schema.of(m[2])}" if m[2] in known else m[0], query)
        run.spark.sql(f"CREATE OR REPLACE VIEW {schema.of(name)} AS {full}")


def _queries(run: Run) -> dict[str, str]:
    """Every view's, each after those that it asks."""
    reduction = run.settings.filter.aesthetic_reduction
    current = {"current_videos": CURRENT_VIDEOS} | {f"current_{name}": _current(run, name) for name in BELONGS}
    return current | {name: query.replace("{reduction}", reduction) for name, query in VIEWS.items()}


def _current(run: Run, name: str) -> str:
    """What `Run.current` gives, as SQL."""
    stage, upstream = BELONGS[name]
    if upstream is None:
        alive = f"LEFT ANTI JOIN ({SUPERSEDED}) u ON u.video_id = r.video_id"
    else:
        alive = f"LEFT SEMI JOIN current_{upstream} u ON u.clip_id = r.clip_id"
    return f"SELECT r.* FROM {name} r {alive} WHERE r.fingerprint = '{run.fingerprint(stage)}'"
