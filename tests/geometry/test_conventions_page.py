"""The examples of the page on conventions run, one after the other, as printed."""

import doctest
import pathlib

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "conventions.md"


def test_examples_print_what_the_page_says():
    # The blank line that ends each example keeps the closing fence out of its output.
    outcome = doctest.testfile(
        str(PAGE), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE
    )
    assert outcome.attempted > 50
    assert outcome.failed == 0
