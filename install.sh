#!/bin/sh
# Installs HostKit on this server, upgrades it, or takes it away again. `./install.sh --help` tells
# more. The whole script is one compound command, from this brace to the last line, so that a file
# that was cut off anywhere runs nothing.
{
set -eu
umask 022
LC_ALL=C
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH

BIN=/usr/local/bin/hostkit
SHARE=/usr/local/share
PACKAGES='nginx sudo ca-certificates curl git tar logrotate openssh-server
          python3 python3-venv nodejs postgresql redis-server nftables certbot openssl'
NEEDED_MB=1024

usage() {
    cat <<'HELP'
Installs HostKit on this server. Running it again upgrades.

usage: ./install.sh [--yes] [--dry-run] [--base-domain DOMAIN] [--binary FILE]
       ./install.sh --uninstall [--purge] [--yes] [--dry-run]
       ./install.sh --try [--binary FILE]

  --base-domain DOMAIN  projects get the address NAME.DOMAIN
  --binary FILE         install this ready program instead of building one with cargo
  --yes                 do not ask
  --dry-run             print every action and change nothing
  --uninstall           remove the program, its completions and manual pages. Projects keep running
  --purge               with --uninstall: remove HostKit's registry and settings too. Refused while
                        there are projects
  --try                 install nothing here: boot a throwaway server on this machine, run this very
                        installer in it, and take two example apps through deploy and rollback
  --help                this text

Each option has an environment variable: HOSTKIT_YES=1, HOSTKIT_DRY_RUN=1, HOSTKIT_BASE_DOMAIN,
HOSTKIT_BINARY, HOSTKIT_UNINSTALL=1, HOSTKIT_PURGE=1. An option on the command line wins.

Runs on Debian 12 and 13 and Ubuntu 22.04 and 24.04, on x86_64 and aarch64, as root.

exit status: 0 done, 1 a step failed, 2 wrong use, 5 there are projects in the way, 6 this server does
not fit, 7 not root, 12 installed, but `hostkit doctor` found something.
HELP
}

# --- words ----------------------------------------------------------------------------------------

say() { printf '%s\n' "$*"; }
warn() { printf 'install.sh: %s\n' "$*" >&2; }

die() {
    status=$1
    shift
    warn "$*"
    exit "$status"
}

misused() { die 2 "$* (see --help)"; }

# step TEXT COMMAND…: the plan that is shown and the run that follows are the same calls.
step() {
    text=$1
    shift
    if [ "$MODE" = show ]; then
        say "  - $text"
    else
        say "==> $text"
        "$@"
    fi
}

# --- options --------------------------------------------------------------------------------------

read_environment() {
    YES=${HOSTKIT_YES:-}
    DRY_RUN=${HOSTKIT_DRY_RUN:-}
    UNINSTALL=${HOSTKIT_UNINSTALL:-}
    PURGE=${HOSTKIT_PURGE:-}
    BASE_DOMAIN=${HOSTKIT_BASE_DOMAIN:-}
    BINARY=${HOSTKIT_BINARY:-}
    TRY=
}

read_options() {
    while [ $# -gt 0 ]; do
        case $1 in
            --base-domain=*) BASE_DOMAIN=${1#*=} ;;
            --binary=*) BINARY=${1#*=} ;;
            --base-domain | --binary)
                [ $# -ge 2 ] || misused "$1 needs a value"
                if [ "$1" = --binary ]; then BINARY=$2; else BASE_DOMAIN=$2; fi
                shift
                ;;
            --yes | -y) YES=1 ;;
            --dry-run) DRY_RUN=1 ;;
            --uninstall) UNINSTALL=1 ;;
            --purge) PURGE=1 ;;
            --try) TRY=1 ;;
            --help | -h)
                usage
                exit 0
                ;;
            *) misused "there is no option \"$1\"" ;;
        esac
        shift
    done
    [ -z "$PURGE" ] || [ -n "$UNINSTALL" ] || misused "--purge goes with --uninstall"
    [ -z "$TRY" ] || [ -z "$UNINSTALL$DRY_RUN" ] || misused "--try goes with --binary only"
    case $BASE_DOMAIN in
        '') ;;
        *[!a-z0-9.-]* | .* | *. | -* | *..*) misused "\"$BASE_DOMAIN\" is no domain name" ;;
        *.*) ;;
        *) misused "\"$BASE_DOMAIN\" is no domain name" ;;
    esac
}

# --- checks: all of them, before anything is changed ----------------------------------------------

problem() {
    PROBLEMS=$((PROBLEMS + 1))
    warn "$*"
}

check_root() {
    [ "$(id -u)" = 0 ] || [ -n "$DRY_RUN" ] || die 7 "needs root: run it with sudo"
}

check_system() {
    ID='' VERSION_ID='' PRETTY_NAME=unknown
    # shellcheck disable=SC1091 # the server's own file
    [ ! -r /etc/os-release ] || . /etc/os-release
    case "$ID $VERSION_ID" in
        'debian 12' | 'debian 13' | 'ubuntu 22.04' | 'ubuntu 24.04') ;;
        *) problem "this is $PRETTY_NAME; HostKit runs on Debian 12 and 13 and Ubuntu 22.04 and 24.04" ;;
    esac
    case $(uname -m) in
        x86_64 | aarch64) ;;
        *) problem "the processor is $(uname -m); HostKit runs on x86_64 and aarch64" ;;
    esac
    [ -d /run/systemd/system ] ||
        problem "systemd is not process 1 here; on such a machine, --try boots a throwaway server"
}

check_disk() {
    for place in / /home /var; do
        free=$(df -Pm "$place" | awk 'NR == 2 { print $4 }')
        [ "$free" -ge "$NEEDED_MB" ] || problem "only $free MB are free on $place; $NEEDED_MB are needed"
    done
}

# The kernel's table of sockets needs no tool that might be missing: state 0A is "listening".
is_listening() {
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk '{ print $2, $4 }' |
        grep -q "$(printf ':%04X 0A$' "$1")"
}

check_web_server() {
    if systemctl is-active --quiet nginx 2>/dev/null; then
        nginx -t -q 2>/dev/null ||
            problem "nginx does not accept its present configuration; \"nginx -t\" says why"
        return 0
    fi
    for port in 80 443; do
        ! is_listening "$port" || problem "something other than nginx listens on port $port"
    done
}

check_program() {
    if [ -n "$BINARY" ]; then
        if [ ! -f "$BINARY" ] || [ ! -x "$BINARY" ]; then
            problem "$BINARY is not a program"
        fi
    elif [ ! -f "$SOURCE/Cargo.toml" ]; then
        problem "there is no source beside this script: name a ready program with --binary FILE"
    elif ! find_cargo >/dev/null; then
        problem "cargo is missing. Install Rust (https://www.rust-lang.org/tools/install), or build" \
            "elsewhere with \"cargo build --release --locked\" and give the program with --binary FILE"
    fi
}

# rustup puts cargo into a home directory, which sudo's PATH does not name.
find_cargo() {
    command -v cargo || { [ -x "${HOME:-/root}/.cargo/bin/cargo" ] && say "${HOME:-/root}/.cargo/bin/cargo"; }
}

check_everything() {
    PROBLEMS=0
    check_system
    check_disk
    check_web_server
    check_program
    [ "$PROBLEMS" = 0 ] || [ -n "$DRY_RUN" ] || die 6 "nothing was changed"
}

# --- the steps ------------------------------------------------------------------------------------

missing_packages() {
    set --
    for package in $PACKAGES $(build_packages); do
        case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) in
            *' installed') ;;
            *) set -- "$@" "$package" ;;
        esac
    done
    printf '%s' "$*"
}

# SQLite is compiled into the program, so that a build needs a C compiler.
build_packages() {
    [ -n "$BINARY" ] || command -v cc >/dev/null || printf 'gcc libc6-dev'
}

install_packages() {
    # A third-party source that fails must not stop us: the install itself decides.
    apt-get update -qq </dev/null || warn "apt-get update failed; going on with the lists there are"
    DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l apt-get install -y -qq --no-install-recommends \
        -o DPkg::Lock::Timeout=300 -o DPkg::Options::=--force-confold -o DPkg::Use-Pty=0 \
        "$@" </dev/null >"$WORK/apt.log" 2>&1 || {
        tail -n 30 "$WORK/apt.log" >&2
        die 1 "the packages could not be installed"
    }
}

build() {
    "$(find_cargo)" build --release --locked --manifest-path "$SOURCE/Cargo.toml" </dev/null
    BINARY=${CARGO_TARGET_DIR:-$SOURCE/target}/release/hostkit
}

# The new program is tried where it will stay, and takes the old one's place in one move.
install_program() {
    install -m 0755 -o root -g root "$BINARY" "$BIN.new"
    if ! version=$("$BIN.new" --version); then
        rm -f "$BIN.new"
        die 1 "$BINARY does not run on this server"
    fi
    sync "$BIN.new"
    mv -fT "$BIN.new" "$BIN"
    say "    $version"
}

bash_completion() { say "$SHARE/bash-completion/completions/hostkit"; }
zsh_completion() { say "$SHARE/zsh/site-functions/_hostkit"; }
fish_completion() { say "$SHARE/fish/vendor_completions.d/hostkit.fish"; }

# write_completion SHELL FILE
write_completion() {
    "$BIN" completions "$1" >"$WORK/completion"
    install -D -m 0644 "$WORK/completion" "$2"
}

install_completions() {
    write_completion bash "$(bash_completion)"
    write_completion zsh "$(zsh_completion)"
    write_completion fish "$(fish_completion)"
}

install_manual() {
    mkdir "$WORK/man"
    "$BIN" man "$WORK/man"
    # Pages of commands that an older version had must not stay.
    remove_manual
    find "$WORK/man" -type f -name 'hostkit*.[1-8]' | while read -r page; do
        install -D -m 0644 "$page" "$SHARE/man/man${page##*.}/${page##*/}"
    done
}

remove_manual() { rm -f "$SHARE"/man/man[1-8]/hostkit.[1-8] "$SHARE"/man/man[1-8]/hostkit-*.[1-8]; }
remove_completions() { rm -f "$(bash_completion)" "$(zsh_completion)" "$(fish_completion)"; }

run_init() { "$BIN" "$@" </dev/null; }

run_doctor() {
    status=0
    "$BIN" doctor </dev/null || status=$?
    case $status in
        0) say "HostKit is ready. Next: hostkit provision NAME" ;;
        12) die 12 "HostKit is installed, and the doctor above says what to look at" ;;
        *) die 1 "HostKit is installed, but its doctor failed with exit status $status" ;;
    esac
}

install_steps() {
    missing=$(missing_packages)
    # shellcheck disable=SC2086 # a list of package names
    [ -z "$missing" ] || step "install packages: $missing" install_packages $missing
    if [ -n "$BINARY" ]; then
        from=$BINARY
    else
        from="the build"
        step "build HostKit in $SOURCE: cargo build --release --locked" build
    fi
    if [ -e "$BIN" ]; then change=upgrade; else change=install; fi
    step "$change $BIN from $from" install_program
    step "install completions: $(bash_completion) $(zsh_completion) $(fish_completion)" install_completions
    step "install the manual: $SHARE/man/man1/hostkit*.1" install_manual
    set -- init
    [ -z "$BASE_DOMAIN" ] || set -- "$@" --base-domain "$BASE_DOMAIN"
    step "prepare the server: hostkit $*" run_init "$@"
    step "check the result: hostkit doctor" run_doctor
}

# --- uninstall ------------------------------------------------------------------------------------

# The names of all projects, one a line. Fails when they cannot be known.
project_names() {
    "$BIN" project list --json >"$WORK/projects.json" &&
        python3 -c 'import json, sys
for project in json.load(sys.stdin)["data"]["projects"]:
    print(project["name"])' <"$WORK/projects.json"
}

# The registry is the only record of what belongs to which project: it goes last.
check_purge() {
    [ -e /var/lib/hostkit ] || return 0
    [ -x "$BIN" ] || die 6 "without $BIN nobody knows which projects there are: install it again first"
    names=$(project_names) || die 6 "the list of projects could not be read; nothing was changed"
    [ -z "$names" ] ||
        die 5 "there are projects: $(say "$names" | tr '\n' ' ')- delete them first: hostkit project delete NAME"
    [ -z "$(ls -A /home/.hostkit-trash 2>/dev/null)" ] ||
        die 5 "deleted projects wait in /home/.hostkit-trash; purge them first: hostkit project purge NAME"
}

HOST_FILES='/etc/nginx/conf.d/hostkit.conf /etc/systemd/system/nginx.service.d/hostkit.conf'
HOST_FILES="$HOST_FILES /etc/systemd/system/hostkit-gc.service /etc/systemd/system/hostkit-gc.timer"
HOST_FILES="$HOST_FILES /etc/systemd/system/hostkit-certificates.service"
HOST_FILES="$HOST_FILES /etc/systemd/system/hostkit-certificates.timer"
HOST_FILES="$HOST_FILES /etc/systemd/system/redis-server.service.d/hostkit.conf"
HOST_FILES="$HOST_FILES /etc/tmpfiles.d/hostkit.conf /etc/hostkit /run/hostkit /var/lib/hostkit"

purge() {
    # shellcheck disable=SC2086 # a list of paths
    rm -rf $HOST_FILES
    # Only where nothing of anybody's is left in them.
    rmdir /etc/systemd/system/nginx.service.d /etc/systemd/system/redis-server.service.d /home/.hostkit-trash /var/log/projects/.trash \
        /var/log/projects 2>/dev/null || :
    [ -d /run/systemd/system ] || return 0
    systemctl daemon-reload
    ! systemctl is-active --quiet nginx || systemctl reload nginx
    # Back to its own settings, which know of no users.
    ! systemctl is-active --quiet redis-server || systemctl restart redis-server
    users=/etc/redis/users.acl
    if [ -f "$users" ] && ! grep -qv -e '^user default ' -e '^user hkadmin ' "$users"; then
        rm "$users"
    fi
}

# Without the program the timer would only fail.
remove_timer() {
    [ -d /run/systemd/system ] || return 0
    systemctl disable --quiet --now hostkit-gc.timer hostkit-certificates.timer 2>/dev/null || :
}

uninstall_steps() {
    step "stop the timers: hostkit-gc.timer, hostkit-certificates.timer" remove_timer
    step "remove $BIN" rm -f "$BIN"
    step "remove completions: $(bash_completion) $(zsh_completion) $(fish_completion)" remove_completions
    step "remove the manual: $SHARE/man/man1/hostkit*.1" remove_manual
    [ -z "$PURGE" ] || step "remove settings and registry: $HOST_FILES" purge
}

# --- the whole ------------------------------------------------------------------------------------

confirm() {
    [ -z "$YES" ] || return 0
    if [ ! -t 0 ] || [ ! -t 1 ]; then
        die 2 "nobody can be asked here: say --yes to go on"
    fi
    printf 'Go on? [y/N] '
    read -r answer
    case $answer in
        y | Y | yes | Yes) ;;
        *) die 1 "nothing was changed" ;;
    esac
}

# perform HEADLINE STEPS: show the plan, ask, run it.
perform() {
    MODE=show
    say "$1"
    "$2"
    if [ -n "$DRY_RUN" ]; then
        say "Nothing was changed."
        return 0
    fi
    confirm
    MODE=run
    "$2"
}

install_hostkit() {
    check_everything
    perform "This will, on $(uname -n) ($PRETTY_NAME, $(uname -m)):" install_steps
    [ "$PROBLEMS" = 0 ] || die 6 "a real run stops before the first step: see above"
}

uninstall_hostkit() {
    [ -z "$PURGE" ] || check_purge
    perform "This will, on $(uname -n):" uninstall_steps
    say "Running projects and their files stay as they are; so do packages such as nginx."
    [ -n "$PURGE" ] || say "The registry stays in /var/lib/hostkit: installing again finds every project."
}

try_hostkit() {
    [ -x "$SOURCE/tests/vps/try" ] || misused "--try needs the whole source tree beside this script"
    exec "$SOURCE/tests/vps/try" ${BINARY:+"$BINARY"}
}

main() {
    SOURCE=$(cd -P "$(dirname "$0")" && pwd)
    read_environment
    read_options "$@"
    check_root
    [ -z "$TRY" ] || try_hostkit
    WORK=$(mktemp -d)
    trap 'rm -rf "$WORK"' EXIT
    if [ -n "$UNINSTALL" ]; then uninstall_hostkit; else install_hostkit; fi
}

main "$@"
}
