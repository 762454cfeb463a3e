-- What somebody must look into now: a row per alarm.
WITH run AS (SELECT * FROM run_summary ORDER BY started_at DESC LIMIT 1)
SELECT 'most inputs failed' AS alarm FROM run WHERE num_failed > num_ingested
UNION ALL
SELECT 'no clip of the run was kept' FROM run WHERE num_clips > 0 AND num_kept = 0
UNION ALL
SELECT DISTINCT 'our own stage failed on clips: reelmill sql "SELECT * FROM failed"' FROM failed WHERE stage = 'exposure'
