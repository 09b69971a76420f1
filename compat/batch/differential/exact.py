"""DE-9IM in rational arithmetic, by cutting every segment at every other: slow, simple and exact. It decides where two engines differ."""
from fractions import Fraction
import shapely

def leaves(g):
    if g.geom_type.startswith("Multi") or g.geom_type == "GeometryCollection":
        for part in g.geoms:
            yield from leaves(part)
    elif not g.is_empty:
        yield g

def exact(c): return [(Fraction(x), Fraction(y)) for x, y in c]
def turn(a, b, c): return (b[0]-a[0])*(c[1]-a[1]) - (b[1]-a[1])*(c[0]-a[0])
def on(p, a, b): return turn(a, b, p) == 0 and min(a[0],b[0]) <= p[0] <= max(a[0],b[0]) and min(a[1],b[1]) <= p[1] <= max(a[1],b[1])
def pairs(c): return [(p, q) for p, q in zip(c, c[1:]) if p != q]
def area2(ring): return sum(p[0]*q[1]-p[1]*q[0] for p, q in zip(ring, ring[1:]))

def ring_parity(p, ring):
    """1 inside, 0 on it, -1 outside."""
    inside = False
    for a, b in pairs(ring):
        if on(p, a, b): return 0
        if (a[1] <= p[1]) != (b[1] <= p[1]):
            low, high = (a, b) if a[1] < b[1] else (b, a)
            if turn(low, high, p) > 0: inside = not inside
    return 1 if inside else -1

class Geometry:
    def __init__(self, g):
        self.polygons, self.lines, self.points, ends = [], [], set(), {}
        for leaf in leaves(g):
            if leaf.geom_type == "Point": self.points.add(exact(leaf.coords)[0] if not leaf.has_z else exact([c[:2] for c in leaf.coords])[0])
            elif leaf.geom_type == "Polygon":
                self.polygons.append([exact(r.coords) for r in [leaf.exterior, *leaf.interiors]])
            else:
                c = exact(leaf.coords)
                if not pairs(c): self.points.add(c[0]); continue
                self.lines.append(c)
                if c[0] != c[-1]:
                    for e in (c[0], c[-1]): ends[e] = ends.get(e, 0) + 1
        self.ends = {e for e, n in ends.items() if n % 2}
        self.segments = [s for line in self.lines for s in pairs(line)]
        self.rings = [(s, n, (area2(ring) > 0) == (k == 0)) for n, poly in enumerate(self.polygons) for k, ring in enumerate(poly) for s in pairs(ring)]
        self.dim = 2 if self.polygons else 1 if self.segments else 0 if self.points else None
    def within(self, p, n):
        """Strictly inside polygon n."""
        shell, *holes = self.polygons[n]
        return ring_parity(p, shell) > 0 and all(ring_parity(p, h) < 0 for h in holes)
    def sides(self, a, b):
        """Whether just left and just right of the piece a-b is inside."""
        mid = ((a[0]+b[0])/2, (a[1]+b[1])/2)
        left = right = False
        for n in range(len(self.polygons)):
            own = [(s, inside_left) for s, of, inside_left in self.rings if of == n and on(a, *s) and on(b, *s)]
            if own:
                (p, q), inside_left = own[0]
                same = (q[0]-p[0])*(b[0]-a[0]) + (q[1]-p[1])*(b[1]-a[1]) > 0
                if inside_left == same: left = True
                else: right = True
            elif self.within(mid, n): left = right = True
        return left, right
    def piece(self, a, b):
        left, right = self.sides(a, b)
        if left and right: return 0
        if left or right: return 1
        return 0 if any(on(a, *s) and on(b, *s) for s in self.segments) else 2
    def node(self, p, around):
        sides = [s for q in around for s in self.sides(p, q)]
        if not sides: sides = [any(self.within(p, n) for n in range(len(self.polygons)))]
        if all(sides): return 0
        if any(sides) or any(on(p, *s) for s, _, _ in self.rings): return 1
        if p in self.ends: return 1
        return 0 if p in self.points or any(on(p, *s) for s in self.segments) else 2

def relate(a, b):
    a, b = Geometry(a), Geometry(b)
    segments = list({frozenset(s): s for s in a.segments + b.segments + [r[0] for r in a.rings + b.rings]}.values())
    m = [[None]*3 for _ in range(3)]; m[2][2] = 2
    def put(x, y, d):
        if m[x][y] is None or m[x][y] < d: m[x][y] = d
    cuts = {s: {s[0], s[1]} for s in segments}
    for i, s in enumerate(segments):
        for t in segments[i+1:]:
            (p, q), (r, u) = s, t
            w = (q[0]-p[0])*(u[1]-r[1]) - (q[1]-p[1])*(u[0]-r[0])
            if w != 0:
                k = ((r[0]-p[0])*(u[1]-r[1]) - (r[1]-p[1])*(u[0]-r[0])) / w
                l = ((r[0]-p[0])*(q[1]-p[1]) - (r[1]-p[1])*(q[0]-p[0])) / w
                if 0 <= k <= 1 and 0 <= l <= 1:
                    x = (p[0]+k*(q[0]-p[0]), p[1]+k*(q[1]-p[1])); cuts[s].add(x); cuts[t].add(x)
            else:
                for e in (r, u):
                    if on(e, p, q): cuts[s].add(e)
                for e in (p, q):
                    if on(e, r, u): cuts[t].add(e)
        for e in a.points | b.points:
            if on(e, *s): cuts[s].add(e)
    nodes = {e: [] for e in a.points | b.points}
    for s, c in cuts.items():
        c = sorted(c)
        for p, q in zip(c, c[1:]):
            nodes.setdefault(p, []).append(q); nodes.setdefault(q, []).append(p)
            put(a.piece(p, q), b.piece(p, q), 1)
            for x, y in zip(a.sides(p, q), b.sides(p, q)): put(0 if x else 2, 0 if y else 2, 2)
    for p, around in nodes.items(): put(a.node(p, around), b.node(p, around), 0)
    for p in nodes:
        if not nodes[p]:
            put(0 if any(a.within(p, n) for n in range(len(a.polygons))) else 2, 0 if any(b.within(p, n) for n in range(len(b.polygons))) else 2, 2)
    return "".join("F" if c is None else str(c) for row in m for c in row), a.dim, b.dim

def predicates(matrix, a, b):
    ii, ib, ie, bi, bb, be, ei, eb, _ = (c != "F" for c in matrix)
    meets = ii or ib or bi or bb
    crosses = overlaps = False
    if a is not None and b is not None:
        crosses = ii and ie if a < b else ii and ei if a > b else a == 1 and matrix[0] == "0"
        overlaps = a == b and ie and ei and (matrix[0] == "1" if a == 1 else ii)
    return dict(intersects=meets, disjoint=not meets, contains=ii and not (ei or eb), within=ii and not (ie or be), covers=meets and not (ei or eb),
                covered_by=meets and not (ie or be), touches=meets and not ii, crosses=crosses, overlaps=overlaps, equals=ii and not (ie or be or ei or eb))
