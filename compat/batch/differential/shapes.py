"""Random geometries, on lattices, far from the origin, and near each other's edges."""
import random, math, numpy as np, shapely
from shapely import wkt, Point, LineString, Polygon, MultiPoint, MultiLineString, MultiPolygon, GeometryCollection
class Gen:
    def __init__(self, seed): self.r = random.Random(seed)
    def coord(self, mode):
        r=self.r
        if mode=='lattice': return (float(r.randint(-3,3)), float(r.randint(-3,3)))
        if mode=='half': return (r.randint(-6,6)/2, r.randint(-6,6)/2)
        if mode=='tenth': return (r.randint(-15,15)/10, r.randint(-15,15)/10)
        if mode=='far': return (4.5e6+r.randint(-3,3)/10, 5.4e6+r.randint(-3,3)/10)
        return (r.uniform(-2,2), r.uniform(-2,2))
    def near(self, mode, pool):
        """A coordinate: fresh, or taken from / interpolated on / nudged off the pool's edges."""
        r=self.r
        if not pool or r.random()<0.45: return self.coord(mode)
        seg=r.choice(pool); k=r.random()
        if k<0.4: return r.choice(seg)
        (x1,y1),(x2,y2)=seg
        t=r.choice([0.5,0.25,1/3,0.1,r.random()])
        p=(x1+t*(x2-x1), y1+t*(y2-y1))
        if k<0.8: return p
        n=r.choice([1,-1]); 
        # Not off zero: below 1e-150 products underflow, in GEOS as well.
        if k<0.9 and p[0]: return (math.nextafter(p[0], n*math.inf), p[1])
        e=r.choice([1e-15,1e-12,1e-9]); return (p[0]+n*e, p[1]+r.choice([-1,0,1])*e)
    def segs(self, g):
        out=[]
        for part in shapely.get_parts(shapely.get_parts([g])) if g.geom_type=='GeometryCollection' else shapely.get_parts([g]):
            cs=shapely.get_coordinates(part)
            if len(cs)==1: out.append((tuple(cs[0]),tuple(cs[0])))
            for a,b in zip(cs[:-1],cs[1:]): out.append((tuple(a),tuple(b)))
        return out
    def pt(self,m,pool): return self.near(m,pool)
    def line(self,m,pool):
        n=self.r.choice([2,2,3,4,6])
        for _ in range(9):
            c=[self.near(m,pool) for _ in range(n)]
            if self.r.random()<0.15 and n>2: c.append(c[0])
            if len(set(c))>1: return LineString(c)
        return LineString([(0,0),(1,1)])
    def poly(self,m,pool):
        r=self.r
        for _ in range(30):
            c=[self.near(m,pool) for _ in range(r.choice([3,3,4,5,7]))]
            if len(set(c))<3: continue
            if len(c)>4 or r.random()<0.3:
                cx=sum(x for x,_ in c)/len(c); cy=sum(y for _,y in c)/len(c)
                c.sort(key=lambda p: math.atan2(p[1]-cy,p[0]-cx))
            p=Polygon(c)
            if not p.is_valid or p.area==0: continue
            if r.random()<0.3:
                for _ in range(6):
                    h=[self.near(m,self.segs(p)+pool) for _ in range(3)]
                    if len(set(h))<3: continue
                    q=Polygon(c,[h])
                    if q.is_valid and q.area>0: return q
            return p
        x,y=self.coord(m); return shapely.box(x,y,x+1,y+1)
    def multi(self,m,pool):
        r=self.r; k=r.randint(0,2)
        if k==0:
            g=MultiPoint([self.pt(m,pool) for _ in range(r.randint(1,4))]); return g
        if k==1: return MultiLineString([self.line(m,pool) for _ in range(r.randint(1,3))])
        for _ in range(20):
            g=MultiPolygon([self.poly(m,pool) for _ in range(r.randint(1,3))])
            if g.is_valid: return g
        return MultiPolygon([self.poly(m,pool)])
    def shape(self,m,pool,depth=0):
        r=self.r; k=r.random()
        if k<0.2: return Point(self.pt(m,pool))
        if k<0.4: return self.line(m,pool)
        if k<0.65: return self.poly(m,pool)
        if k<0.88 or depth>1: return self.multi(m,pool)
        if k<0.9: return r.choice([Point(),LineString(),Polygon(),MultiPoint(),GeometryCollection()])
        parts=[]
        for _ in range(r.randint(1,3)):
            g=self.shape(m,pool,depth+1); pool=pool+self.segs(g); parts.append(g)
        return GeometryCollection(parts)
    def pair(self):
        m=self.r.choice(['lattice','lattice','half','tenth','float','far'])
        a=self.shape(m,[]); b=self.shape(m,self.segs(a))
        return (a,b) if self.r.random()<0.5 else (b,a)
