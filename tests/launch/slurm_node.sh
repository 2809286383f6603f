# Sourced by tests under Slurm: a private cluster of this machine alone, beside
# any that there is. $work is the test's folder.

# start_slurm: sets $SLURM_CONF. Fails with the reason in $slurm_reason.
start_slurm() {
  local program host port folder=$work/slurm
  for program in slurmctld slurmd srun sbatch; do
    if ! command -v $program >/dev/null; then
      slurm_reason="$program is not installed (launch/setup.sh installs it)"
      return 1
    fi
  done
  if [[ $(id -u) -ne 0 ]]; then
    slurm_reason="only root can start slurmd"
    return 1
  fi
  host=$(hostname -s)
  # Two tests at once must not meet: a free pair of ports of this process's.
  port=$((20000 + 2 * ($$ % 5000)))
  mkdir -p "$folder/state" "$folder/spool"
  export SLURM_CONF=$folder/slurm.conf
  cat >"$SLURM_CONF" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
MpiDefault=pmix
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
JobRequeue=1
ReturnToService=2
SlurmctldPort=$port
SlurmdPort=$((port + 1))
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
NodeName=$host NodeAddr=127.0.0.1 CPUs=8 RealMemory=1000
PartitionName=debug Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
  slurmctld >"$folder/out" 2>&1 && slurmd >>"$folder/out" 2>&1
  if ! await 20 slurm_is_idle; then
    slurm_reason="it did not start: $(tail -qn 1 "$folder"/*.log "$folder/out" |
      tr '\n' ' ')"
    stop_slurm
    return 1
  fi
}

slurm_is_idle() {
  [[ $(sinfo -h -o %t 2>/dev/null) == idle ]]
}

stop_slurm() {
  local daemon pid
  for daemon in slurmd slurmctld; do
    pid=$(cat "$work/slurm/$daemon.pid" 2>/dev/null) || continue
    kill "$pid" 2>/dev/null
    await 10 is_gone "$pid" || kill -KILL "$pid"
  done
  # What still had to tell them of a step tries for ever.
  for pid in $(pgrep -x slurmstepd); do
    if grep -qszxF "SLURM_CONF=$work/slurm/slurm.conf" "/proc/$pid/environ"; then
      kill -KILL "$pid"
    fi
  done
}

is_gone() { ! lives "$1"; }
