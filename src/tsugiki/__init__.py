"""tsugiki: graft small trained parts onto a frozen language model, and measure whether it was worth it.

Importing this package imports no torch; the heavy floors are imported by the commands that need them.

Waiting threads soon sleep instead of spinning, which OpenMP must be told before torch is loaded by anyone. On a machine
that does anything else besides, spinning threads keep each other from the cores (docs/decisions.md).
"""

import os

__version__ = "0.1.0"

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
