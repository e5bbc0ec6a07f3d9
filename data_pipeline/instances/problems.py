"""How a configuration error is worded: file, key path, what is wrong, what to do next."""

import difflib
from collections.abc import Iterable
from pathlib import Path

from data_pipeline.errors import ConfigurationError


def problem(file: Path, key: str, what: str, remedy: str) -> ConfigurationError:
    """Give the error for one key of the configuration file.

    Args:
        file: The configuration file.
        key: Dotted path of the key in the file; empty for the file as a whole.
        what: What is wrong there, without a full stop. Must not quote a part of a database URL.
        remedy: What the user can do about it: one or more sentences.
    """
    where = f"{file}: {key}" if key else f"{file}"
    return ConfigurationError(f"{where}: {what}. {remedy}")


def listing(words: Iterable[str]) -> str:
    """Give the words as a readable list, in their order."""
    return ", ".join(f"'{word}'" for word in words) or "none"


def suggestion(word: str, known: Iterable[str]) -> str:
    """Give the remedy for an unknown word: the closest known one, and all of them."""
    candidates = list(known)
    close = difflib.get_close_matches(word, candidates, n=1)
    question = f"Did you mean '{close[0]}'? " if close else ""
    return f"{question}Known here: {listing(candidates)}."


def shown(value: object) -> str:
    """Give the value for an error text, or a stand-in where it looks like a URL with a password."""
    text = repr(value)
    if "://" in text or "@" in text:
        return "the value (not shown, it may hold a password)"
    return text if len(text) <= 80 else f"{text[:77]}..."
