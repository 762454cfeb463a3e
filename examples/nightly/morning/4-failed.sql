-- What could not be read?
SELECT stage, code, count(*) AS inputs, min(regexp_extract(video_uri, '[^/]+$', 0)) AS one_of_them
FROM failed GROUP BY stage, code ORDER BY inputs DESC, stage, code
