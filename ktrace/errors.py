"""Errors that a user sees: raised deep, printed once, in cli."""


class KtraceError(Exception):
    """ktrace could not do its work (exit status 2).

    `message` says what is wrong and where, `help` what to do; both are one line, `slug` is for
    tests and logs.
    """

    exit_status = 2

    def __init__(self, slug: str, message: str, help: str) -> None:  # noqa: A002 - the word users know
        super().__init__(message)
        self.slug = slug
        self.message = message
        self.help = help
