"""Bodies made from formulas and from keys, for tests and where there is no CT."""
