"""A package of its own name, so that no installed package called `tests` comes first."""
