"""Facts, ``fold`` and ``plan``: where a run is and what comes next. Pure."""
