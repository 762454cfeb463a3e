#!/usr/bin/env bash
# The nightly run: curate what is new, write the table of what is kept, print what the team looks at in the morning. By cron:
#   30 1 * * * VIDEOS=s3://B/videos OUTPUT=s3://B/out TABLES=s3://B/kept /opt/nightly/run.sh >>/var/log/nightly.log 2>&1
# Exit status: that of the run (docs/operations.md), or 3 if alarms.sql has an answer.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
videos=${VIDEOS:?where the videos are} output=${OUTPUT:?where tables and clips go} tables=${TABLES:?where the kept rows go}
conf=(--conf "$here/nightly.toml")

reelmill settings --check "$here/nightly.toml"
status=0
reelmill curate "$videos" -o "$output" "${conf[@]}" --deadline "${DEADLINE:-05:30}" || status=$?

# A flat table for whoever trains: the rows of the kept clips as Parquet, a folder per run, which names the tables' versions.
[[ $status -ne 0 ]] || reelmill export -o "$output" "${conf[@]}" --format parquet --to "$tables/$(date -u +%Y-%m-%dT%H%M%S)"

for question in "$here"/morning/*.sql; do
  printf '\n%s\n' "$(sed -n '1s/^-- //p' "$question")"
  reelmill sql -o "$output" "$(tail -n +2 "$question")" || true # such as a stage that has met no clip yet
done
alarms=$(reelmill sql -o "$output" --format csv "$(tail -n +2 "$here/alarms.sql")" | tail -n +2)
if [[ -n $alarms ]]; then
  printf '\nALARM: %s\n' "$alarms"
  [[ $status -ne 0 ]] || status=3
fi
exit "$status"
