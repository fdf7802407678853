# A certificate authority of this server's own: Debian's pebble, which rejects some nonces as a real one may,
# with a name server that says of every name that it leads here. Its roots, and the one that vouches for
# its own server, go to /etc/acme-ca.pem.
set -eu
address=$(hostname -I | cut -d' ' -f1)
mkdir -p /etc/pebble
cd /etc/pebble
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 30 -subj '/CN=test authority' 2>/dev/null
openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=localhost 2>/dev/null
printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\n' >names
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 30 \
    -extfile names 2>/dev/null
cat >config.json <<'JSON'
{ "pebble": {
    "listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000",
    "certificate": "/etc/pebble/server.pem", "privateKey": "/etc/pebble/server.key",
    "httpPort": 80, "tlsPort": 443, "ocspResponderURL": "", "externalAccountBindingRequired": false
} }
JSON
systemd-run --quiet --unit=challtestsrv pebble-challtestsrv -defaultIPv4 "$address" -defaultIPv6 '' \
    -dns01 127.0.0.1:8053 -http01 '' -https01 '' -tlsalpn01 '' -management 127.0.0.1:8055
systemd-run --quiet --unit=pebble --setenv=PEBBLE_VA_NOSLEEP=1 --setenv="PEBBLE_WFE_NONCEREJECT=${REJECT:-5}" \
    pebble -config /etc/pebble/config.json -dnsserver 127.0.0.1:8053
n=0
until curl -s --cacert ca.pem https://localhost:15000/roots/0 -o root.pem; do
    n=$((n + 1))
    [ "$n" -lt 100 ] || exit 1
    sleep 0.1
done
cat ca.pem root.pem >/etc/acme-ca.pem
# What sets and clears a record in DNS, as certbot calls it.
cat >/usr/local/sbin/dns-hook <<'HOOK'
#!/bin/sh
set -eu
host="_acme-challenge.$CERTBOT_DOMAIN."
case $1 in
    set) curl -s -d "{\"host\":\"$host\",\"value\":\"$CERTBOT_VALIDATION\"}" http://127.0.0.1:8055/set-txt ;;
    clear) curl -s -d "{\"host\":\"$host\"}" http://127.0.0.1:8055/clear-txt ;;
esac
HOOK
chmod 0755 /usr/local/sbin/dns-hook
