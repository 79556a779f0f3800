"""Answers HTTP requests from a verified release; the version of what is answered is decided here."""

__version__ = "0.1.0"
