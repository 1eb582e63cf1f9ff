"""What Kedro asks of a project: https://docs.kedro.org/en/stable/configure/project_settings/"""

import os
import sys

# Kedro's telemetry plugin reads .telemetry only in the current folder; this holds from wherever the project is run.
os.environ.setdefault("DO_NOT_TRACK", "1")
# Log lines of a run that is not watched (CI, a batch job) are not folded at 80 columns.
if not sys.stdout.isatty():
    os.environ.setdefault("COLUMNS", "140")

from omegaconf.resolvers import oc

from skytrace.catalog import ReleaseCatalog
from skytrace.hooks import ProgressHook, ResultsHook, RunLockHook, RunManifestHook
from skytrace.load_versions import LoadVersionsHook
from skytrace.parameters import TypedContext
from skytrace.session import SkytraceSession

# the last one listed is called first: what was asked for, then the lock before anything is written, progress before the
# manifest, results last
HOOKS = (ResultsHook(), RunManifestHook(), ProgressHook(), RunLockHook(), LoadVersionsHook())

CONTEXT_CLASS = TypedContext
SESSION_CLASS = SkytraceSession
DATA_CATALOG_CLASS = ReleaseCatalog

CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    # an environment says only what differs from conf/base, at any depth
    "merge_strategy": {"parameters": "soft", "globals": "soft"},
    "custom_resolvers": {"oc.env": oc.env},
}
