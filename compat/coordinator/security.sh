#!/usr/bin/env bash
# Sourced by `run`: authentication and TLS, by etcdctl and curl. What the original answers to auth.story is in
# auth.expected, what to auth_http.sh in auth_http.expected, both of which
#     RECORD=PATH/OF/etcd compat/coordinator/security.sh ETCDCTL
# writes anew from it.

# told ETCDCTL ARGUMENTS…: what it says, but for its log, and what differs from run to run.
told() {
    timeout 20 "$@" 2>&1 | tr -d '\0' | grep -v '^{"level"' |
        sed -E 's/remaining\([0-9]+s\)/remaining(N)/; s/took [0-9.µm]+s/took N/; s,https?://[0-9a-z.:]+,HERE,'
}

# tell ETCDCTL ENDPOINT: carries out auth.story line by line; prints each line and what it was answered.
tell() {
    local ctl=("$1" --endpoints "$2") line lease=none words user=() answer
    while IFS= read -r line; do
        case $line in
        '' | '#'*) continue ;;
        'as nobody') user=(); echo "$line"; continue ;;
        'as '*) user=(--user "${line#as }"); echo "$line"; continue ;;
        esac
        echo "> $line"
        eval "words=(${line//SNAPSHOT/"$WORK/story.snapshot"})"
        words=("${words[@]//LEASE/$lease}")
        if [ "${words[0]}" = txn ]; then
            # Conditions, steps, other steps: each a list that an empty line ends.
            answer=$(printf '%s\n' "${words[1]:+${words[1]}$'\n'}" "${words[2]:+${words[2]}$'\n'}" \
                "${words[3]:+${words[3]}$'\n'}" | told "${ctl[@]}" "${user[@]}" txn) || true
        elif [ "${words[*]:0:2} ${#words[@]}" = "lease grant 4" ]; then
            answer=$(told "${ctl[@]}" "${user[@]}" lease grant "${words[2]}") || true
            lease=$(awk '/^lease / {print $2}' <<<"$answer")
            lease=${lease:-none}
        else
            answer=$(told "${ctl[@]}" "${user[@]}" "${words[@]}" </dev/null) || true
        fi
        sed "s/\b$lease\b/LEASE/g; s/^/    /; /^    \$/d" <<<"$answer"
    done <"$HERE/auth.story"
}

# authority NAME: makes NAME.pem, which signs others, and its key.
authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj "/CN=$1" \
        -keyout "$PKI/$1.key" -out "$PKI/$1.pem" 2>/dev/null
}

# sign NAME AUTHORITY SUBJECT: makes NAME.pem and NAME.key, good for this machine in both roles.
sign() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "$3" \
        -keyout "$PKI/$1.key" -out "$PKI/$1.csr" 2>/dev/null
    openssl x509 -req -in "$PKI/$1.csr" -CA "$PKI/$2.pem" -CAkey "$PKI/$2.key" -CAcreateserial -days 30 \
        -extfile <(echo "subjectAltName=DNS:localhost,IP:127.0.0.1") -out "$PKI/$1.pem.new" 2>/dev/null
    mv "$PKI/$1.pem.new" "$PKI/$1.pem"
}

# serial ADDRESS: the serial number of the certificate that is shown there.
serial() {
    openssl s_client -connect "$1" -cert "$PKI/alice.pem" -key "$PKI/alice.key" </dev/null 2>/dev/null |
        openssl x509 -noout -serial
}

# sent_away HOW ENDPOINT FLAGS…: etcdctl gets no answer there.
sent_away() {
    local how=$1 endpoint=$2
    shift 2
    if "$ETCDCTL" --command-timeout 3s --endpoints "$endpoint" "$@" get k >"$WORK/sent.away" 2>&1 </dev/null; then
        failed "etcdctl $how is sent away" "$(cat "$WORK/sent.away")"
    else
        passed "etcdctl $how is sent away"
    fi
}

odd_requests() {
    start odd coordinator --data-dir "$WORK/odd" --listen-client-urls http://127.0.0.1:0
    "$HERE/auth_http.sh" "http://$(address client)" >"$WORK/odd.told"
    same "curl /v3/auth and the rest of it, by whom it may ($(grep -c '^>' "$HERE/auth_http.expected") calls)" "" \
        "$(diff "$HERE/auth_http.expected" "$WORK/odd.told" | head -n 10)"
    stop odd
}

users_and_roles() {
    start auth coordinator --data-dir "$WORK/auth" --listen-client-urls http://127.0.0.1:0 --auth-token-ttl 2
    local here token
    here=$(address client)
    tell "$ETCDCTL" "http://$here" >"$WORK/auth.told"
    same "etcdctl auth, user, role and who may do what ($(grep -c '^>' "$HERE/auth.expected") calls)" "" \
        "$(diff "$HERE/auth.expected" "$WORK/auth.told" | head -n 10)"
    for words in "user add root:pw" "role add root" "user grant-role root root" "auth enable"; do
        # shellcheck disable=SC2086
        "$ETCDCTL" --endpoints "$here" $words >/dev/null 2>&1
    done
    # What an HTTP client does: a token once, then with every call.
    json() { curl -sS -m 10 "http://$here/v3/$1" -d "$2" "${@:3}"; }
    token=$(json auth/authenticate '{"name":"root","password":"pw"}' | sed -E 's/.*"token":"([^"]+)".*/\1/')
    same "curl /v3/kv/put with a token" 1 "$(json kv/put '{"key":"Zm9v","value":"YmFy"}' -H "Authorization: $token" | grep -c '"revision"')"
    same "curl /v3/kv/range without a token" '{"code":3,"message":"etcdserver: user name is empty"}' \
        "$(json kv/range '{"key":"Zm9v"}' | sed -E 's/"error":"[^"]*",//; s/"details":\[\],?//')"
    same "curl with a token that is none" 401 "$(json kv/range '{"key":"Zm9v"}' -H 'Authorization: a.1' -o /dev/null -w '%{http_code}')"
    sleep 3
    same "curl with a token that was not used for its time" 401 \
        "$(json kv/range '{"key":"Zm9v"}' -H "Authorization: $token" -o /dev/null -w '%{http_code}')"
    # Killed and started again: the users are there.
    stop auth KILL
    start auth coordinator --data-dir "$WORK/auth" --listen-client-urls "http://$here"
    says_to "http://$here" "user list --user (after SIGKILL)" "$(lines bob nopw root)" --user root:pw user list
    stop auth
}

# says_to ENDPOINT NAME EXPECTED ARGUMENTS…: as `says`, elsewhere.
says_to() {
    local endpoint=$1 name=$2 expected=$3
    shift 3
    same "etcdctl $name" "$expected" "$(told "$ETCDCTL" --endpoints "$endpoint" "$@" </dev/null)"
}

signed_tokens() {
    openssl genrsa -out "$PKI/jwt.key" 2048 2>/dev/null
    openssl rsa -in "$PKI/jwt.key" -pubout -out "$PKI/jwt.pub" 2>/dev/null
    start jwt coordinator --data-dir "$WORK/jwt" --listen-client-urls http://127.0.0.1:0 \
        --auth-token "jwt,pub-key=$PKI/jwt.pub,priv-key=$PKI/jwt.key,sign-method=RS256,ttl=60s"
    local here token
    here=$(address client)
    for words in "user add root:pw" "role add root" "user grant-role root root" "auth enable" "--user root:pw put k 1"; do
        # shellcheck disable=SC2086
        "$ETCDCTL" --endpoints "$here" $words >/dev/null 2>&1
    done
    says_to "$here" "get with a JWT" "$(lines k 1)" --user root:pw get k
    token=$(json auth/authenticate '{"name":"root","password":"pw"}' | sed -E 's/.*"token":"([^"]+)".*/\1/')
    # RFC 7515: what openssl says of the signature over the first two parts.
    printf '%s' "${token%.*}" >"$WORK/jwt.signed"
    printf '%s==' "${token##*.}" | tr '_-' '/+' | base64 -d >"$WORK/jwt.signature" 2>/dev/null || true
    same "a JWT's signature, by openssl" "Verified OK" \
        "$(openssl dgst -sha256 -verify "$PKI/jwt.pub" -signature "$WORK/jwt.signature" "$WORK/jwt.signed" 2>&1)"
    says_to "$here" "role add (a change ends all JWTs)" "Role late created" --user root:pw role add late
    same "curl with a JWT of an older revision" "etcdserver: revision of auth store is old" \
        "$(json kv/range '{"key":"aw=="}' -H "Authorization: $token" | sed -E 's/.*"message":"([^"]*)".*/\1/')"
    stop jwt
}

certificates() {
    local here tls=(--cacert "$PKI/ca.pem") alice
    authority ca
    authority stranger
    sign server ca /CN=server
    sign alice ca /CN=alice
    sign carol ca /CN=carol
    sign eve stranger /CN=alice
    alice=("${tls[@]}" --cert "$PKI/alice.pem" --key "$PKI/alice.key")
    start tls coordinator --data-dir "$WORK/tls" --listen-client-urls https://127.0.0.1:0 \
        --cert-file "$PKI/server.pem" --key-file "$PKI/server.key" --trusted-ca-file "$PKI/ca.pem" --client-cert-auth
    here=$(address client)
    says_to "https://$here" "put (mutual TLS)" OK "${alice[@]}" put k 1
    says_to "https://$here" "get (mutual TLS)" "$(lines k 1)" "${alice[@]}" get k
    same "curl https://…/health" '{"health":"true","reason":""}' "$(curl -sS -m 10 "${alice[@]}" "https://$here/health")"
    sent_away "without a certificate" "https://$here" "${tls[@]}"
    sent_away "with a stranger's certificate" "https://$here" "${tls[@]}" --cert "$PKI/eve.pem" --key "$PKI/eve.key"
    sent_away "in plain text" "http://$here"
    # Whom the certificate names is who asks, unless a password says otherwise.
    for words in "user add root:pw" "role add root" "user grant-role root root" "user add alice --no-password" \
        "role add reader" "role grant-permission reader read k" "user grant-role alice reader" "auth enable"; do
        # shellcheck disable=SC2086
        "$ETCDCTL" --endpoints "https://$here" "${alice[@]}" $words >/dev/null 2>&1
    done
    says_to "https://$here" "get as the certificate's name" "$(lines k 1)" "${alice[@]}" get k
    says_to "https://$here" "put as the certificate's name" "Error: etcdserver: permission denied" "${alice[@]}" put k 2
    says_to "https://$here" "put with a password beside the certificate" OK "${alice[@]}" --user root:pw put k 2
    says_to "https://$here" "get as a name that is no user" "Error: etcdserver: permission denied" \
        "${tls[@]}" --cert "$PKI/carol.pem" --key "$PKI/carol.key" get k
    same "curl /v3/kv/range (the gateway believes no certificate)" "etcdserver: user name is empty" \
        "$(curl -sS -m 10 "${alice[@]}" "https://$here/v3/kv/range" -d '{"key":"aw=="}' | sed -E 's/.*"message":"([^"]*)".*/\1/')"
    # A new certificate counts from the next connection on.
    sign server ca /CN=renewed
    same "a renewed certificate is shown at once" "$(openssl x509 -noout -serial -in "$PKI/server.pem")" "$(serial "$here")"
    says_to "https://$here" "get (renewed certificate)" "$(lines k 2)" "${alice[@]}" get k
    stop tls
}

revoked_and_own() {
    local here alice=(--cacert "$PKI/ca.pem" --cert "$PKI/alice.pem" --key "$PKI/alice.key")
    local carol=(--cacert "$PKI/ca.pem" --cert "$PKI/carol.pem" --key "$PKI/carol.key")
    # Of version 2, which it is by having an extension; Go reads no other.
    printf '[ca]\ndefault_ca=d\n[d]\ndatabase=%s\ndefault_md=sha256\ndefault_crl_days=30\ncrl_extensions=e\n[e]\nauthorityKeyIdentifier=keyid\n' "$PKI/index" >"$PKI/ca.conf"
    : >"$PKI/index"
    openssl ca -config "$PKI/ca.conf" -keyfile "$PKI/ca.key" -cert "$PKI/ca.pem" -revoke "$PKI/carol.pem" 2>/dev/null
    openssl ca -config "$PKI/ca.conf" -keyfile "$PKI/ca.key" -cert "$PKI/ca.pem" -gencrl 2>/dev/null |
        openssl crl -outform DER -out "$PKI/ca.crl"
    start crl coordinator --data-dir "$WORK/crl" --listen-client-urls "https://127.0.0.1:0,unix://$WORK/socket" \
        --cert-file "$PKI/server.pem" --key-file "$PKI/server.key" --trusted-ca-file "$PKI/ca.pem" \
        --client-crl-file "$PKI/ca.crl" --tls-min-version TLS1.2 --tls-max-version TLS1.2 \
        --cipher-suites TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
    here=$(address client)
    says_to "https://$here" "put (one cipher of TLS 1.2)" OK "${alice[@]}" put k 1
    sent_away "with a revoked certificate" "https://$here" "${carol[@]}"
    says_to "unix://$WORK/socket" "get (a socket in the file system)" "$(lines k 1)" get k
    stop crl
    start own coordinator --data-dir "$WORK/own" --listen-client-urls https://127.0.0.1:0 --auto-tls
    here=$(address client)
    says_to "https://$here" "put (--auto-tls)" OK --cacert "$WORK/own/fixtures/client/cert.pem" put k 1
    stop own
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    set -euo pipefail
    HERE=$(cd "$(dirname "$0")" && pwd)
    WORK=$(mktemp -d)
    CLIENTS=http://127.0.0.1:22379 PEERS=http://127.0.0.1:22380 ORIGINAL=
    trap 'kill $ORIGINAL; rm -rf "$WORK"' EXIT
    # original NAME: the original with a new data directory.
    original() {
        if [ -n "$ORIGINAL" ]; then kill "$ORIGINAL"; wait "$ORIGINAL" || true; fi
        "${RECORD:?the original, to write what it answers}" --data-dir "$WORK/$1" --log-level error \
            --listen-client-urls $CLIENTS --advertise-client-urls $CLIENTS --listen-peer-urls $PEERS \
            --initial-advertise-peer-urls $PEERS --initial-cluster default=$PEERS >"$WORK/$1.log" 2>&1 &
        ORIGINAL=$!
        until curl -fs $CLIENTS/readyz >/dev/null; do sleep 0.1; done
    }
    original story
    tell "$1" $CLIENTS >"$HERE/auth.expected"
    original http
    "$HERE/auth_http.sh" $CLIENTS >"$HERE/auth_http.expected"
    exit
fi

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PKI="$WORK/pki"
mkdir -p "$PKI"
# etcdctl refuses to be told twice where to go.
ENDPOINTS=${ETCDCTL_ENDPOINTS:-}
unset ETCDCTL_ENDPOINTS
users_and_roles
odd_requests
signed_tokens
certificates
revoked_and_own
export ETCDCTL_ENDPOINTS=$ENDPOINTS
