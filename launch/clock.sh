# For scripts that wait for a time. Sourced.

# seconds_now: sets $now, in seconds of a clock that nobody sets. The seconds
# that bash counts go by the machine's, which may be set while a job runs.
seconds_now() {
  local uptime
  read -r uptime _ </proc/uptime
  now=${uptime%.*}
}

# is_same_interrupt: whether less than a second has passed since it last said no.
# `timeout` sends a signal to a script and to its group: two, and one wish.
interrupted_at=-100
is_same_interrupt() {
  local uptime
  read -r uptime _ </proc/uptime
  uptime=$((10#${uptime/./}))  # in hundredths
  ((uptime - interrupted_at >= 100)) || return 0
  interrupted_at=$uptime
  return 1
}
