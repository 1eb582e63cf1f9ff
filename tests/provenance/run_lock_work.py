"""A process of its own that holds a run's lock until it is ended: ``python run_lock_work.py PROJECT PLACE``."""

import sys
import time
from pathlib import Path

from skytrace.provenance.run_lock import RunLock

if __name__ == "__main__":
    lock = RunLock(Path(sys.argv[1]))
    lock.acquire([sys.argv[2]], command="kedro run --env smoke --pipelines cluster_pu")
    print("held", flush=True)
    time.sleep(300.0)
