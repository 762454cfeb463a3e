-- Which clips are nearest to the gate of exposure? Look at some of them before you move it.
SELECT regexp_extract(video_uri, '[^/]+$', 0) AS video, round(start_s, 1) AS start_s, round(exposure_usable, 1) AS usable,
       round(exposure_brightness) AS brightness, kept
FROM verdicts WHERE exposure_usable IS NOT NULL
ORDER BY abs(exposure_usable - 0.8), video, start_s LIMIT 5
