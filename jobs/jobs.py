"""The package `jobs` for `spark-submit jobs/x.py`, which finds its siblings by it.

spark-submit puts the script's own folder on sys.path, not the one above it, so that `import jobs`
finds this file and not the package. It then becomes the package, and puts the folder above in the
place of the script's own, which would otherwise offer `filter`, `sql` and the like as top-level
modules.
"""

import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
__path__ = [str(_HERE)]
sys.path[:] = [entry for entry in sys.path if not entry or Path(entry).resolve() != _HERE]
sys.path.insert(0, str(_HERE.parent))
