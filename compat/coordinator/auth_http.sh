#!/usr/bin/env bash
# auth_http.sh ENDPOINT: what an HTTP client can say that a person with etcdctl cannot: names that are empty, ranges that
# are none, tokens of every shape. What the original answers is in auth_http.expected.
set -uo pipefail
E=$1
# b TEXT: in base64. xs N: so many letters.
b() { printf '%s' "$1" | base64 -w0; }
xs() { printf 'x%.0s' $(seq "$1"); }

# c PATH JSON FLAGS…: calls, and prints the call and its answer without what differs from run to run.
c() {
    local path=$1 json=$2
    shift 2
    {
        echo "> $path $json $*"
        curl -s -m 10 "$E/v3/$path" -d "$json" "$@" -w ' [%{http_code}]'
        echo
    } | sed -E 's/[A-Za-z]{16}\.[0-9]+/TOKEN/g; s/"(cluster_id|member_id|raft_term)":"[0-9]+",?//g; s/,\}/}/g
        s/"error":"[^"]*",//; s/, ?"details":\[\]//'
}

# token NAME PASSWORD
token() {
    curl -s "$E/v3/auth/authenticate" -d "{\"name\":\"$1\",\"password\":\"$2\"}" | sed -E 's/.*"token":"([^"]+)".*/\1/'
}

c auth/status '{}'
c auth/authenticate '{"name":"root","password":"x"}'
c auth/user/add '{"name":"","password":"x"}'
c auth/user/add '{"name":"empty","password":""}'
c auth/user/add "{\"name\":\"long\",\"password\":\"$(xs 73)\"}"
c auth/user/add "{\"name\":\"l72\",\"password\":\"$(xs 72)\"}"
c auth/user/add '{"name":"root","password":"pw"}'
c auth/user/add '{"name":"np","password":"pw","options":{"no_password":true}}'
c auth/user/add '{"name":"np","options":{"no_password":true}}'
c auth/user/changepw '{"name":"np","password":"pw"}'
c auth/user/changepw '{"name":"none","password":"pw"}'
c auth/user/changepw '{"name":"empty","password":""}'
c auth/user/changepw '{"name":"","password":""}'
c auth/user/get '{"name":""}'
c auth/user/grant '{"user":"root","role":""}'
c auth/user/grant '{"user":"","role":"root"}'
c auth/user/revoke '{"name":"root","role":"root"}'
c auth/user/delete '{"name":""}'
c auth/role/add '{"name":""}'
c auth/role/add '{"name":"r"}'
c auth/role/get '{"role":""}'
c auth/role/delete '{"role":""}'
c auth/role/grant '{"name":"r"}'
c auth/role/grant '{"name":"r","perm":{}}'
c auth/role/grant "{\"name\":\"r\",\"perm\":{\"permType\":\"READ\",\"key\":\"$(b k)\"}}"
c auth/role/grant "{\"name\":\"r\",\"perm\":{\"permType\":\"READ\",\"key\":\"$(b k)\",\"range_end\":\"$(b z)\"}}"
c auth/role/grant "{\"name\":\"r\",\"perm\":{\"permType\":\"READWRITE\",\"key\":\"$(b k)\"}}"
c auth/role/grant "{\"name\":\"r\",\"perm\":{\"permType\":\"READ\",\"key\":\"$(b a)\",\"range_end\":\"AA==\"}}"
c auth/role/grant "{\"name\":\"r\",\"perm\":{\"permType\":\"READ\",\"key\":\"\",\"range_end\":\"AA==\"}}"
c auth/role/grant "{\"name\":\"r\",\"perm\":{\"permType\":\"READ\",\"key\":\"$(b b)\",\"range_end\":\"$(b a)\"}}"
c auth/role/get '{"role":"r"}'
c auth/role/revoke "{\"role\":\"r\",\"key\":\"$(b k)\",\"range_end\":\"$(b y)\"}"
c auth/role/revoke "{\"role\":\"r\",\"key\":\"$(b k)\",\"range_end\":\"$(b z)\"}"
c auth/role/revoke "{\"role\":\"none\",\"key\":\"$(b k)\"}"
c auth/role/get '{"role":"r"}'
c auth/user/grant '{"user":"root","role":"root"}'
c auth/user/grant '{"user":"root","role":"r"}'
c auth/user/get '{"name":"root"}'
c auth/user/list '{}'
c auth/role/list '{}'
c auth/enable '{}'
c auth/enable '{}'
c auth/authenticate '{"name":"root","password":""}'
c auth/authenticate '{"name":"","password":"pw"}'
c auth/authenticate '{"name":"empty","password":""}'
c auth/authenticate '{"name":"np","password":""}'
c auth/authenticate "{\"name\":\"l72\",\"password\":\"$(xs 72)\"}"
c auth/authenticate "{\"name\":\"l72\",\"password\":\"$(xs 75)\"}"
T=$(token root pw)
L=$(token l72 "$(xs 72)")
c kv/put "{\"key\":\"$(b k)\"}" -H "Authorization: $T"
c kv/put "{\"key\":\"$(b k)\"}" -H "Authorization: Bearer $T"
c kv/put "{\"key\":\"$(b k)\"}" -H "Authorization: bearer $T"
c kv/put "{\"key\":\"$(b k)\"}" -H "token: $T"
c kv/put "{\"key\":\"$(b k)\"}" -H "Grpc-Metadata-Token: $T"
c kv/put "{\"key\":\"$(b k)\"}" -H "Authorization: "
c kv/put "{\"key\":\"$(b k)\"}" -H "Authorization: x"
c kv/put "{\"key\":\"$(b k)\"}" -H "Authorization: x.y"
c kv/put "{\"key\":\"$(b k)\"}" -H "Authorization: x.1"
c kv/put "{\"key\":\"\"}"
c kv/range "{\"key\":\"\"}"
c kv/range "{\"key\":\"$(b k)\"}" -H "Authorization: $L"
c kv/range "{\"key\":\"$(b k)\",\"range_end\":\"AA==\"}" -H "Authorization: $L"
c kv/range "{\"key\":\"$(b k)\",\"revision\":1000}" -H "Authorization: $L"
c kv/range "{\"key\":\"$(b k)\",\"revision\":1000}" -H "Authorization: $T"
c kv/txn "{}" 
c kv/txn "{}" -H "Authorization: $L"
c kv/txn "{\"success\":[{\"request_put\":{\"key\":\"$(b k)\"}}]}" -H "Authorization: $L"
c kv/txn "{\"success\":[{\"request_put\":{\"key\":\"\"}}]}" -H "Authorization: $L"
c kv/compaction '{"revision":1}' -H "Authorization: $L"
c kv/compaction '{"revision":1000}' -H "Authorization: $T"
c kv/deleterange "{\"key\":\"$(b k)\"}"
c lease/grant '{"TTL":100,"ID":7}'
c lease/grant '{"TTL":100,"ID":7}' -H "Authorization: $L"
c lease/keepalive '{"ID":7}'
c lease/keepalive '{"ID":7}' -H "Authorization: $L"
c lease/keepalive '{"ID":9}'
c lease/timetolive '{"ID":7}'
c lease/timetolive '{"ID":9}' -H "Authorization: $L"
c lease/leases '{}'
c lease/leases '{}' -H "Authorization: $L"
c lease/revoke '{"ID":9}'
c lease/revoke '{"ID":9}' -H "Authorization: $L"
c maintenance/hash '{}'
c maintenance/status '{}'
c maintenance/snapshot '{}'
c maintenance/defragment '{}' -H "Authorization: $L"
c maintenance/alarm '{"action":"GET"}'
c maintenance/alarm '{"action":"GET"}' -H "Authorization: $L"
c maintenance/alarm '{"action":"ACTIVATE"}' -H "Authorization: $L"
c maintenance/transfer-leadership '{"targetID":1}' -H "Authorization: $L"
c maintenance/downgrade '{"action":"VALIDATE","version":"3.5"}' -H "Authorization: $L"
c cluster/member/list '{}'
c cluster/member/add '{"peerURLs":["http://a:1"]}'
c cluster/member/add '{"peerURLs":["http://a:1"]}' -H "Authorization: $L"
c cluster/member/remove '{"ID":1}' -H "Authorization: $L"
c cluster/member/promote '{"ID":1}' -H "Authorization: $L"
c cluster/member/update '{"ID":1,"peerURLs":["http://a:1"]}' -H "Authorization: $L"
c watch "{\"create_request\":{\"key\":\"$(b k)\"}}" -m 1
c watch "{\"create_request\":{\"key\":\"$(b k)\",\"start_revision\":-1}}" -m 1
c watch "{\"create_request\":{\"key\":\"$(b z)\",\"range_end\":\"$(b a)\"}}" -m 1
c lock/lock "{\"name\":\"$(b k)\"}"
c election/leader "{\"name\":\"$(b k)\"}"
c auth/user/add '{"name":"x","password":"y"}' -H "Authorization: $L"
c auth/user/get '{"name":"none"}' -H "Authorization: $L"
c auth/user/get '{"name":"l72"}' -H "Authorization: $L"
c auth/role/get '{"role":"none"}' -H "Authorization: $L"
c auth/role/get '{"role":"none"}' -H "Authorization: $T"
c auth/role/get '{"role":"root"}' -H "Authorization: $T"
c auth/user/delete '{"name":"l72"}' -H "Authorization: $T"
c kv/range "{\"key\":\"$(b k)\"}" -H "Authorization: $L"
c auth/disable '{}' -H "Authorization: $T"
c auth/disable '{}'
c kv/range "{\"key\":\"$(b k)\"}" -H "Authorization: nonsense"
c auth/enable '{}'
c kv/range "{\"key\":\"$(b k)\"}" -H "Authorization: $T"
