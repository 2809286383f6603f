# Sourced by tests over two hosts: `a` and `b`, which are namespaces of this
# machine. Each has a network, a name, shared memory and a folder for temporary
# files of its own, b also its own process numbers; a pair of virtual Ethernet
# ends joins them. They share the disk. $work is the test's folder.
#
# They vanish with the processes that hold them, which end when this shell does,
# whatever ends it.

declare -A holder  # by host: a process in its namespaces
address_a=198.51.100.1
address_b=198.51.100.2

# start_hosts [NAME_OF_A NAME_OF_B]: fails with the reason in $hosts_reason.
start_hosts() {
  local program
  if [[ $(id -u) -ne 0 ]]; then
    hosts_reason="only root can make namespaces"
    return 1
  fi
  for program in ip nsenter setpriv unshare; do
    if ! command -v $program >/dev/null; then
      hosts_reason="$program is not installed (launch/setup.sh installs it)"
      return 1
    fi
  done
  printf '%s\n' '127.0.0.1 localhost' "$address_a a" "$address_b b" \
    >"$work/hosts"
  if ! { hold_host a "${1-a}" && hold_host b "${2-b}" --pid --fork \
    --kill-child --mount-proc && join_hosts; } 2>"$work/namespaces"; then
    hosts_reason="this system makes no namespaces: $(tr '\n' ' ' \
      <"$work/namespaces")"
    stop_hosts
    return 1
  fi
  write_agent
}

# hold_host HOST NAME [unshare's options ...]
hold_host() {
  local host=$1 name=$2
  shift 2
  mkdir -p "$work/tmp.$host"
  rm -f "$work/$host.is_up"
  setpriv --pdeathsig KILL unshare --net --uts --ipc --mount "$@" \
    bash -c "$(declare -f be_host); be_host \"\$@\"" - "$name" "$work" \
    "$work/$host.is_up" </dev/null >/dev/null &
  holder[$host]=$!
  disown  # or bash tells of its end
  await 20 eval '[[ -e "$work/$host.is_up" ]] || ! lives "${holder[$host]}"'
  [[ -e "$work/$host.is_up" ]] || return
  if [[ $# -gt 0 ]]; then holder[$host]=$(pgrep -P "${holder[$host]}"); fi
  echo "${holder[$host]}" >"$work/$host.holder"
}

# What holds a host. As process 1 of its numbers it takes in the children of
# others there.
be_host() {
  hostname "$1" && mount -t tmpfs none /dev/shm &&
    mount --bind "$2/hosts" /etc/hosts && ip link set lo up || exit
  : >"$3"
  if [[ $$ -ne 1 ]]; then exec sleep infinity; fi
  sleep infinity &
  wait
}

join_hosts() {
  ip link add "moe$$" netns "${holder[a]}" type veth \
    peer name "moe$$" netns "${holder[b]}" &&
    on_host a ip link set "moe$$" name eth0 &&
    on_host b ip link set "moe$$" name eth0 &&
    on_host a ip address add "$address_a/24" dev eth0 &&
    on_host b ip address add "$address_b/24" dev eth0 &&
    set_link up
}

# set_link up|down
set_link() {
  on_host a ip link set eth0 "$1" && on_host b ip link set eth0 "$1"
}

# enter HOST: sets $entering, the command that runs another there.
enter() {
  local numbers=()
  if [[ $1 == b ]]; then numbers=(--pid); fi
  entering=(nsenter --target "${holder[$1]}" --net --uts --ipc --mount
    ${numbers[@]+"${numbers[@]}"} env "TMPDIR=$work/tmp.$1")
}

# on_host HOST COMMAND...
on_host() {
  local entering
  enter "$1"
  shift
  "${entering[@]}" "$@"
}

# What Open MPI starts its daemons on other hosts with, in place of ssh: the
# environment there is not that of here. Open MPI 4.1.4 itself takes hosts of
# one name for one, unless PMIX_HOSTNAME names them.
write_agent() {
  cat >"$work/agent" <<AGENT
#!/usr/bin/env bash
case \$1 in
  a | $address_a) host=a ;;
  b | $address_b) host=b ;;
  *) echo "no host \$1" >&2; exit 1 ;;
esac
shift
numbers=()
if [[ \$host == b ]]; then numbers=(--pid); fi
exec nsenter --target "\$(cat "$work/\$host.holder")" --net --uts --ipc --mount \
  \${numbers[@]+"\${numbers[@]}"} env -i HOME=/root PATH="$PATH" \
  TMPDIR="$work/tmp.\$host" PMIX_HOSTNAME="\$host" sh -c "\$*"
AGENT
  chmod +x "$work/agent"
}

stop_hosts() {
  local host
  for host in "${!holder[@]}"; do
    kill -KILL "${holder[$host]}"
    await 10 is_gone "${holder[$host]}"
  done
  holder=()
} 2>/dev/null

is_gone() { ! lives "$1"; }
