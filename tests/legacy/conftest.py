"""What the tests of the 0.53 API share: a server with scripts, and one whose models are a server of the tests."""

from playing import model, server, work  # noqa: F401
