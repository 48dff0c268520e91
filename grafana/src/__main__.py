"""`python -m grafana.src` is `python -m grafana.src.build`."""

from grafana.src.build import main

raise SystemExit(main())
