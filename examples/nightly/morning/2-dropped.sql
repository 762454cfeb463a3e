-- Why are clips dropped? A clip may have several reasons.
SELECT reason, count(*) AS clips, round(sum(duration_s), 1) AS seconds
FROM (SELECT explode(reasons) AS reason, duration_s FROM verdicts)
GROUP BY reason ORDER BY clips DESC, reason
