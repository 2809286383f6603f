# For scripts that wait for a time. Sourced.

# seconds_now: sets $now, in seconds of a clock that nobody sets. The seconds
# that bash counts go by the machine's, which may be set while a job runs.
seconds_now() {
  local uptime
  read -r uptime _ </proc/uptime
  now=${uptime%.*}
}
