#!/usr/bin/env bash
# mpirun.sh RANKS PROGRAM [ARGUMENT...]: what the tests start ranks with. More
# ranks than cores are ordinary here, and every rank yields while it waits. A
# test that hangs is ended.
set -euo pipefail
ranks=$1
shift
# Open MPI refuses root unless told twice; a container has no other user.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1
# Open MPI unloads plugins whose leaks no list can name.
export ASAN_OPTIONS=detect_leaks=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}
# One machine. A container may forbid a process to read another's memory.
export OMPI_MCA_btl=self,vader OMPI_MCA_btl_vader_single_copy_mechanism=none
export OMPI_MCA_plm_rsh_agent=
exec mpirun -q --bind-to none --timeout "${MOE_TEST_TIMEOUT:-500}" \
  -n "$ranks" "$@"
