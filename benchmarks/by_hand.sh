#!/bin/sh
# What site.yml does, as a plain script for one fresh Debian host: the floor to compare with.
# Arguments: the registry's name, the directory with the two image files and auth_config.yml.
set -eu
name=$1 files=$2
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends docker.io "$(apt-cache show docker-cli >/dev/null 2>&1 && echo docker-cli || echo ca-certificates)" nginx openssl >/dev/null
docker info >/dev/null
mkdir -p /srv/r/config /srv/r/auth /srv/r/data/docker /srv/r/tls
cd /srv/r
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout tls/ca.key -out tls/ca.crt -days 3650 -subj "/CN=CA" -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout tls/tls.key -out tls/tls.csr -subj "/CN=$name" 2>/dev/null
printf 'subjectAltName=DNS:%s\n' "$name" > tls/extensions
openssl x509 -req -in tls/tls.csr -CA tls/ca.crt -CAkey tls/ca.key -days 90 -extfile tls/extensions -out tls/tls.crt 2>/dev/null
openssl req -x509 -newkey rsa:2048 -nodes -keyout auth/signing.key -out auth/signing.crt -days 365 -subj "/CN=signing" 2>/dev/null
cat auth/signing.crt auth/signing.key > auth/signing.pem
cp "$files/auth_config.yml" auth/
cat > config/config.yml <<CONFIG
version: 0.1
storage: {filesystem: {rootdirectory: /var/lib/registry}, delete: {enabled: true}}
http: {addr: ":5000", draintimeout: 60s, secret: $(openssl rand -hex 16), debug: {addr: "127.0.0.1:5001"}}
auth: {token: {realm: "https://$name/auth", service: "$name", issuer: "$name", rootcertbundle: /trust/signing.crt, signingalgorithms: [RS256]}}
CONFIG
chown -R 64501 auth
chown -R 64500 data config
registry=$(docker load -q -i "$files/registry.tar" | sed -n 's/^Loaded image.*: //p' | tail -n 1)
server=$(docker load -q -i "$files/token_server.tar" | sed -n 's/^Loaded image.*: //p' | tail -n 1)
docker network create --internal --subnet 172.31.255.240/28 stack >/dev/null
hardened() {
    docker run -d --restart unless-stopped --read-only --cap-drop ALL \
        --security-opt no-new-privileges --network stack --tmpfs /tmp "$@" >/dev/null
}
hardened --name token --ip 172.31.255.243 --user 64501 -v /srv/r/auth:/config:ro "$server" serve /config/auth_config.yml
hardened --name registry --ip 172.31.255.242 --user 64500 -e OTEL_TRACES_EXPORTER=none -v /srv/r/config:/etc/distribution:ro -v /srv/r/auth/signing.crt:/trust/signing.crt:ro -v /srv/r/data/docker:/var/lib/registry/docker "$registry" serve /etc/distribution/config.yml
cat > /etc/nginx/conf.d/registry.conf <<SITE
server {
    listen 443 ssl;
    server_name $name;
    ssl_certificate /srv/r/tls/tls.crt;
    ssl_certificate_key /srv/r/tls/tls.key;
    client_max_body_size 0;
    location /v2/ { proxy_pass http://172.31.255.242:5000; proxy_http_version 1.1; proxy_request_buffering off; proxy_set_header Host \$http_host; proxy_set_header X-Forwarded-Proto https; }
    location /auth { proxy_pass http://172.31.255.243:5002; proxy_set_header X-Real-IP \$remote_addr; }
}
SITE
nginx -t -q
nginx -s reload
echo "$(hostname -I | cut -d' ' -f1) $name" >> /etc/hosts
mkdir -p "/etc/docker/certs.d/$name"
cp tls/ca.crt "/etc/docker/certs.d/$name/"
# What the closing verification does: log in, push, pull.
sleep 1
tar -c -C "$files" auth_config.yml | docker import - "$name/admin/probe:1" >/dev/null
docker login -u admin --password-stdin "$name" < "$files/password" >/dev/null 2>&1 || { sleep 5; docker login -u admin --password-stdin "$name" < "$files/password" >/dev/null; }
docker push -q "$name/admin/probe:1" >/dev/null
docker rmi "$name/admin/probe:1" >/dev/null
docker pull -q "$name/admin/probe:1" >/dev/null
