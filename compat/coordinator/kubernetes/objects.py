"""Works with a kube-apiserver as a cluster does: creates, patches, lists in pages, watches, renews leases.

    objects.py URL BEFORE|AFTER      BEFORE fills it and runs for as long as a file named `go-on` is not there; AFTER checks it

Prints `ok   …` and `FAIL …` lines.
"""

import json
import os
import ssl
import sys
import threading
import time
import urllib.error
import urllib.request

BASE = sys.argv[1]
CONTEXT = ssl._create_unverified_context()  # a certificate that the server made for itself
NAMESPACE = "/api/v1/namespaces/shop"
HEADERS = {"Authorization": "Bearer operator"}
LEASES = "/apis/coordination.k8s.io/v1/namespaces/shop/leases"


def call(method, path, body=None, content="application/json", timeout=30):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(BASE + path, data, HEADERS | {"Content-Type": content}, method=method)
    with urllib.request.urlopen(request, timeout=timeout, context=CONTEXT) as response:
        return json.load(response)


def persistent(method, path, body=None, content="application/json", seconds=60):
    """As a controller does: again, until it is answered."""
    deadline = time.time() + seconds
    while True:
        try:
            return call(method, path, body, content, timeout=10)
        except urllib.error.HTTPError as error:
            if error.code == 409 and method == "POST":
                return call("GET", path + "/" + body["metadata"]["name"])
            if error.code < 500 and error.code != 429 or time.time() > deadline:
                raise
        except OSError:
            if time.time() > deadline:
                raise
        time.sleep(0.2)


def check(name, right, detail=""):
    print(f"ok   kube-apiserver: {name}" if right else f"FAIL kube-apiserver: {name}: {detail}", flush=True)


def config_map(number):
    return {"metadata": {"name": f"item-{number:04}", "labels": {"shelf": str(number % 7)}}, "data": {"count": "0"}}


def watch(path, version, seen, ready):
    """Follows a collection from `version` on, over broken connections and compactions, as client-go's reflector does."""
    while not os.path.exists("done"):
        query = f"?watch=1&resourceVersion={version}&allowWatchBookmarks=true&timeoutSeconds=30"
        try:
            request = urllib.request.Request(BASE + path + query, headers=HEADERS)
            with urllib.request.urlopen(request, timeout=40, context=CONTEXT) as response:
                ready.set()
                for line in response:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        version = call("GET", path)["metadata"]["resourceVersion"]
                        break
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        seen.append((event["type"], event["object"]["metadata"]["name"], int(version)))
        except OSError:
            time.sleep(0.2)


def pages(path, limit):
    names, token, count, versions = [], "", 0, set()
    while True:
        answer = persistent("GET", f"{path}?limit={limit}" + (f"&continue={token}" if token else ""))
        names += [item["metadata"]["name"] for item in answer["items"]]
        versions.add(answer["metadata"]["resourceVersion"])
        count += 1
        token = answer["metadata"].get("continue", "")
        if not token:
            return names, count, versions


def before():
    persistent("POST", "/api/v1/namespaces", {"metadata": {"name": "shop"}})
    start = persistent("GET", NAMESPACE + "/configmaps")["metadata"]["resourceVersion"]
    seen, ready = [], threading.Event()
    threading.Thread(target=watch, args=(NAMESPACE + "/configmaps", start, seen, ready), daemon=True).start()
    check("a watch begins", ready.wait(30))
    for number in range(500):
        persistent("POST", NAMESPACE + "/configmaps", config_map(number))
    names, count, versions = pages(NAMESPACE + "/configmaps", 50)
    mine = [name for name in names if name.startswith("item-")]
    check("500 objects in ten pages or eleven, of one revision", len(mine) == 500 and count in (10, 11) and len(versions) == 1,
          f"{len(mine)} in {count}, {versions}")
    try:
        persistent("POST", NAMESPACE + "/configmaps", config_map(0) | {"metadata": {"name": "Not A Name"}})
        check("a wrong name is refused", False)
    except urllib.error.HTTPError as error:
        check("a wrong name is refused", error.code == 422, error.code)
    stale = call("GET", NAMESPACE + "/configmaps/item-0001")
    persistent("PATCH", NAMESPACE + "/configmaps/item-0001", {"data": {"count": "1"}}, "application/merge-patch+json")
    try:
        call("PUT", NAMESPACE + "/configmaps/item-0001", stale)
        check("an update of an older version conflicts", False)
    except urllib.error.HTTPError as error:
        check("an update of an older version conflicts", error.code == 409, error.code)

    # From here on members are killed: leases are renewed and objects counted up, one after the other.
    persistent("POST", LEASES, {"metadata": {"name": "node-1"}, "spec": {"holderIdentity": "node-1", "leaseDurationSeconds": 40}})
    print("under way", flush=True)
    rounds, longest = 0, 0.0
    while not os.path.exists("go-on"):
        rounds += 1
        began = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
        persistent("PATCH", LEASES + "/node-1", {"spec": {"renewTime": stamp, "leaseTransitions": rounds}}, "application/merge-patch+json")
        persistent("PATCH", NAMESPACE + f"/configmaps/item-{rounds % 500:04}", {"data": {"count": str(rounds)}}, "application/merge-patch+json")
        longest = max(longest, time.time() - began)
        time.sleep(0.02)
    lease = persistent("GET", LEASES + "/node-1")
    check("the lease has its last renewal", lease["spec"]["leaseTransitions"] == rounds, lease["spec"])
    check("renewals go on within 15 s of a kill", rounds > 20 and longest < 15, f"{rounds} rounds, the longest {longest:.1f} s")
    for number in range(0, 500, 2):
        persistent("DELETE", NAMESPACE + f"/configmaps/item-{number:04}")
    marker = persistent("POST", NAMESPACE + "/configmaps", {"metadata": {"name": "last"}})["metadata"]["resourceVersion"]
    deadline = time.time() + 30
    while time.time() < deadline and not any(version >= int(marker) for _, _, version in seen):
        time.sleep(0.1)
    open("done", "w").close()
    versions = [version for _, _, version in seen]
    check("the watch saw each change once and in order", versions == sorted(set(versions)), "out of order or twice")
    added = [name for kind, name, _ in seen if kind == "ADDED" and name.startswith("item-")]
    deleted = [name for kind, name, _ in seen if kind == "DELETED" and name.startswith("item-")]
    check("the watch saw all that was created and deleted", (len(added), len(deleted)) == (500, 250), (len(added), len(deleted)))
    last = {}
    for kind, name, version in seen:
        last[name] = None if kind == "DELETED" else version
    listed = {item["metadata"]["name"]: int(item["metadata"]["resourceVersion"])
              for item in persistent("GET", NAMESPACE + "/configmaps")["items"]}
    followed = {name: version for name, version in last.items() if version is not None}
    check("what the watch followed is what a list shows", all(listed.get(name) == version for name, version in followed.items()),
          f"{len(followed)} followed, {len(listed)} listed")


def after():
    names, _, _ = pages(NAMESPACE + "/configmaps", 100)
    mine = [name for name in names if name.startswith("item-")]
    check("another kube-apiserver finds what the first left", mine == [f"item-{n:04}" for n in range(1, 500, 2)], len(mine))
    persistent("DELETE", NAMESPACE + "/configmaps?labelSelector=shelf%3D3")
    left, _, _ = pages(NAMESPACE + "/configmaps", 100)
    expected = [f"item-{n:04}" for n in range(1, 500, 2) if n % 7 != 3]
    check("a collection is deleted by label", [n for n in left if n.startswith("item-")] == expected, len(left))


{"BEFORE": before, "AFTER": after}[sys.argv[2]]()
