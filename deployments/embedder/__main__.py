"""`python -m deployments.embedder HOME PRECISION`: export the model if it is not there, and check it. Exit code 1: it
cannot be used, and standard error says why."""

import sys
from pathlib import Path

from deployments.embedder.export import ensure_model
from kit.errors import SetupError, full_disk

if __name__ == "__main__":
    home, precision = sys.argv[1:]
    try:
        ensure_model(Path(home), "fp32" if precision == "fp32" else "int8")
    except SetupError as error:
        sys.exit(f"Error: {error.message}")
    except OSError as error:
        if (full := full_disk(error)) is None:
            raise
        sys.exit(f"Error: {full.message}")
    except KeyboardInterrupt:
        sys.exit(130)
