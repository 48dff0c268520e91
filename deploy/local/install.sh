#!/bin/sh
# Install Debian packages without leaving any service running because of it. Needs root.
# usage: install.sh PACKAGE...
set -eu
export DEBIAN_FRONTEND=noninteractive

# redis-server, prometheus and its alertmanager start themselves on installation, on the very ports the stack may want.
# invoke-rc.d and deb-systemd-invoke ask policy-rc.d first; 101 means "action not allowed".
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

apt-get -qq -o DPkg::Lock::Timeout=300 update
apt-get -qq -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 install --no-install-recommends "$@" >/dev/null

# Not at the next boot either.
if [ -d /run/systemd/system ]; then
    for unit in redis-server prometheus prometheus-alertmanager; do
        case " $* " in *" $unit "*) systemctl --quiet disable "$unit" || true ;; esac
    done
fi
