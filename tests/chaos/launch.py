"""Starts `streamer` with the named points in it and, if told so, with planted bugs: what the product itself knows nothing of.

The environment says where and what: `CHAOS_DIRECTORY`, the directory of this process, and `CHAOS_BUGS`, names in `bugs.py`.
"""

from __future__ import annotations

import os
from pathlib import Path

from streamer import cli
from tests.chaos.bugs import BUGS
from tests.chaos.points import Points

if __name__ == "__main__":
    points = Points(Path(os.environ["CHAOS_DIRECTORY"]))
    for name in os.environ.get("CHAOS_BUGS", "").split():
        BUGS[name](points)
    points.install()
    cli.main()
