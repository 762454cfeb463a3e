#!/bin/bash
# Runs on every node of an EMR cluster before Spark starts: bootstrap.sh s3://BUCKET/reelmill/ s3://BUCKET/models/
# The first folder holds the wheel, and those of your own stages; the second the models, as `reelmill models --fetch` leaves them (none where no model is asked).
set -euo pipefail
code=$1 models=${2:-}
home=/opt/reelmill

sudo python3.11 -m venv "$home"
sudo aws s3 cp --recursive --exclude '*' --include '*.whl' "$code" "$home/wheels/"
# The newest of each package: an upload leaves the wheels of earlier versions where they are.
newest=$(find "$home/wheels" -name '*.whl' | sort -V |
  awk -F/ '{ split($NF, part, "-"); last[part[1]] = $0 } END { for (name in last) print last[name] }')
wheel=$(grep '/reelmill-[^/]*$' <<< "$newest")
mapfile -t own < <(grep -v '/reelmill-[^/]*$' <<< "$newest")
sudo "$home/bin/pip" install --quiet "${wheel}[models]" "${own[@]}"
# Delta's Python, whose jars EMR brings; not PySpark, which EMR brings as well.
sudo "$home/bin/pip" install --quiet --no-deps 'delta-spark>=4.0.1,<4.1'
sudo "$home/bin/pip" install --quiet 'importlib-metadata<9'

site=$("$home/bin/python" -c 'import jobs; print(*jobs.__path__)')
site=${site%/jobs}
sudo ln -s "$site/jobs" "$site/conf" "$home/"
sudo install -m 755 "$site/conf/discover_gpus.sh" "$home/discover_gpus.sh"

if [[ -n $models ]]; then
  sudo aws s3 cp --recursive --quiet "$models" "$home/models/"
fi

# YARN keeps containers apart by the first version of control groups, which is mounted here beside the second.
if grep -q '"isMaster": *false' /mnt/var/lib/info/instance.json; then
  nvidia-smi --list-gpus || { echo "no driver for a GPU on this node" >&2; exit 1; }
  sudo mkdir -p /yarn-cgroup/devices
  sudo mount -t cgroup -o devices cgroupv1-devices /yarn-cgroup/devices
  sudo chmod -R a+rwx /yarn-cgroup
fi
