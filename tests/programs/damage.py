"""What mail programs, web pages, editors and crashes do to a log."""

import random
from collections.abc import Callable

Lines = list[str]


def wrapped(lines: Lines, rng: random.Random) -> Lines:
    """Break at blanks before column 72, as a mailer does; words that are longer stay whole."""
    out: Lines = []
    for line in lines:
        row = ""
        for word in line.split(" "):
            if row and len(row) + 1 + len(word) > 72:
                out.append(row)
                row = word
            else:
                row = f"{row} {word}" if row else word
        out.append(row)
    return out


def quoted(lines: Lines, rng: random.Random) -> Lines:
    mark = rng.choice(["> ", "> > ", ">> "])
    return [mark + line for line in lines]


def no_break_spaces(lines: Lines, rng: random.Random) -> Lines:
    return [line.replace(" ", "\u00a0") for line in lines]


def entities(lines: Lines, rng: random.Random) -> Lines:
    swaps = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"))
    for plain, entity in swaps:
        lines = [line.replace(plain, entity) for line in lines]
    return [line + rng.choice(["<br>", "<br/>", ""]) for line in lines]


def coloured(lines: Lines, rng: random.Random) -> Lines:
    return [f"\x1b[32m{line}\x1b[0m" if rng.random() < 0.5 else line for line in lines]


def returns(lines: Lines, rng: random.Random) -> Lines:
    return [line + "\r" for line in lines]


def cut_ends(lines: Lines, rng: random.Random) -> Lines:
    """Cut the first and the last line anywhere."""
    first, last = lines[0], lines[-1]
    middle = [first[rng.randrange(len(first) + 1) :], *lines[1:-1]]
    return [*middle, last[: rng.randrange(len(last) + 1)]]


def cut_some(lines: Lines, rng: random.Random) -> Lines:
    return [line[: rng.randrange(len(line) + 1)] if rng.random() < 0.1 else line for line in lines]


def dropped(lines: Lines, rng: random.Random) -> Lines:
    """Drop whole lines, but no setsockopt: nobody can miss an attempt that is not there."""
    return [line for line in lines if "setsockopt" in line or rng.random() > 0.1]


def glued(lines: Lines, rng: random.Random) -> Lines:
    out: Lines = []
    for line in lines:
        if out and rng.random() < 0.1:
            out[-1] += line
        else:
            out.append(line)
    return out


def scrambled(lines: Lines, rng: random.Random) -> Lines:
    """Overwrite single characters, NUL bytes among them."""

    def one(line: str) -> str:
        if not line or rng.random() > 0.1:
            return line
        at = rng.randrange(len(line))
        return line[:at] + rng.choice('\0x7"(<{[,=\u00e9 ') + line[at + 1 :]

    return [one(line) for line in lines]


Damage = Callable[[Lines, random.Random], Lines]
# Nothing is lost: the verdicts must be those of the clean log.
HARMLESS: tuple[Damage, ...] = (wrapped, quoted, no_break_spaces, entities, coloured, returns)
# Something is lost: what is no longer known must be said.
HARMFUL: tuple[Damage, ...] = (cut_ends, cut_some, dropped, glued, scrambled)
