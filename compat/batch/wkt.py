"""Well-known text as nested lists that can be compared.

parse(text, exact) gives [kind, dimensions, coordinates], or None for what is no WKT. Unless `exact`, the form is
canonical: it forgets where a ring starts, which way rings and lines run, and in which order the parts stand.
"""
import re

KINDS = {"POINT": 0, "LINESTRING": 1, "MULTIPOINT": 1, "POLYGON": 2, "MULTILINESTRING": 2, "MULTIPOLYGON": 3}
TOKEN = re.compile(r"[A-Za-z]+|[(),]|[-+0-9.eE]+")
LOOKS = re.compile(r"^\s*(SRID=\d+;)?\s*(GEOMETRYCOLLECTION|%s)\s*(ZM|Z|M)?\s*(EMPTY|\()" % "|".join(KINDS), re.I)


def rounded(value):
    """A key for sorting: near numbers look the same."""
    if isinstance(value, float):
        return "%.7g" % (0.0 if abs(value) < 1e-9 else value)
    if isinstance(value, (list, tuple)):
        return "[%s]" % ",".join(rounded(item) for item in value)
    return str(value)


class Tokens:
    def __init__(self, text):
        self.items, self.at = TOKEN.findall(re.sub(r"^\s*SRID=\d+;", "", text)), 0

    def peek(self):
        return self.items[self.at].upper() if self.at < len(self.items) else ""

    def take(self):
        self.at += 1
        return self.items[self.at - 1].upper()

    def position(self):
        numbers = []
        while self.peek() not in (",", ")", ""):
            numbers.append(float(self.take()))
        return numbers

    def nested(self, depth):
        """( item, item … ) of the given depth; EMPTY is []. The points of a multi-point may have their own brackets."""
        if self.peek() == "EMPTY":
            self.take()
            return []
        if self.take() != "(":
            raise ValueError("no bracket")
        items = []
        while True:
            if depth > 1:
                items.append(self.nested(depth - 1))
            elif self.peek() == "(":
                self.take()
                items.append(self.position())
                self.take()
            elif self.peek() == "EMPTY":
                self.take()
            else:
                items.append(self.position())
            if self.take() == ")":
                return items


def line(points, exact):
    return points if exact else min(points, points[::-1], key=rounded)


def ring(points, exact):
    if exact or len(points) < 2:
        return points
    if rounded(points[0]) == rounded(points[-1]):
        points = points[:-1]
    turns = [way[at:] + way[:at] for way in (points, points[::-1]) for at in range(len(way))]
    best = min(turns, key=rounded) if len(points) < 500 else points
    return best + best[:1]


def polygon(rings, exact):
    rings = [ring(points, exact) for points in rings]
    return rings if exact else rings[:1] + sorted(rings[1:], key=rounded)


def geometry(tokens, exact):
    kind, dimensions = tokens.take(), ""
    for tail in ("ZM", "Z", "M"):
        if kind not in KINDS and kind.endswith(tail) and kind[: -len(tail)] in KINDS:
            kind, dimensions = kind[: -len(tail)], tail
    if tokens.peek() in ("Z", "M", "ZM"):
        dimensions = tokens.take()
    order = (lambda parts: parts) if exact else (lambda parts: sorted(parts, key=rounded))
    if kind == "GEOMETRYCOLLECTION":
        parts = []
        if tokens.take() == "(":
            parts.append(geometry(tokens, exact))
            while tokens.take() == ",":
                parts.append(geometry(tokens, exact))
        return [kind, dimensions, order(parts)]
    items = tokens.nested(max(KINDS[kind], 1))
    if kind == "LINESTRING":
        items = line(items, exact)
    elif kind == "MULTIPOINT":
        items = order(items)
    elif kind == "POLYGON":
        items = polygon(items, exact)
    elif kind == "MULTILINESTRING":
        items = order([line(points, exact) for points in items])
    elif kind == "MULTIPOLYGON":
        items = order([polygon(rings, exact) for rings in items])
    return [kind, dimensions, items]


def parse(text, exact):
    if not LOOKS.match(text):
        return None
    tokens = Tokens(text)
    try:
        parsed = geometry(tokens, exact)
    except (ValueError, IndexError, KeyError):
        return None
    return parsed if tokens.at == len(tokens.items) else None
