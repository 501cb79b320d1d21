"""The versions of Flyte's caches: a result is used again only for what could not have changed it.

The code that measures, the pinned packages, the container and the kind of GPU are in a run's
version; a download's has only the code that downloads, and the packages.
"""

from liger_benchmark.code_version import SOURCES_CODE, code_digest
from liger_benchmark.flyte.settings import GPU_KIND, MACHINE_DIGEST, PINS_DIGEST

DOWNLOAD_VERSION = f"{code_digest(SOURCES_CODE)}-{PINS_DIGEST}"
TRAINING_VERSION = f"{code_digest()}-{PINS_DIGEST}-{MACHINE_DIGEST}-{GPU_KIND}"
