"""What a docstring says of a thing and of its attributes."""

from __future__ import annotations

from ws_gateway.docstrings import attributes, summary


class Told:
    """A thing.

    And ``more``, which is
    told on two lines.

    Attributes:
        one: What it is,
            and on.
        two: ``x`` or none.
    """


class Untold:
    """A thing: with a colon."""


def test_what_stands_before_the_attributes_is_the_summary() -> None:
    """Paragraphs stay, lines within them do not."""
    assert summary(Told) == "A thing.\n\nAnd `more`, which is told on two lines."
    assert summary(Untold) == "A thing: with a colon."


def test_each_attribute_has_its_words() -> None:
    """In the order of the section, however many lines they take."""
    assert list(attributes(Told).items()) == [
        ("one", "What it is, and on."),
        ("two", "`x` or none."),
    ]
    assert attributes(Untold) == {}


def test_nothing_is_said_of_what_says_nothing() -> None:
    """No docstring, no words."""

    def silent() -> None: ...

    assert (summary(silent), attributes(silent)) == ("", {})
