-- How much did the run do, and what did it cost?
SELECT num_ingested, num_videos, num_clips, num_kept, num_failed, round(cpu_s) AS cpu_s, round(cost_usd, 4) AS cost_usd
FROM run_summary ORDER BY started_at DESC LIMIT 1
