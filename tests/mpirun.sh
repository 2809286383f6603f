#!/usr/bin/env bash
# mpirun.sh RANKS PROGRAM [ARGUMENTS...]: runs a test on that many ranks of
# this machine, however few cores it has, and ends it when it hangs.
set -euo pipefail

ranks=$1
shift

# Open MPI refuses root unless told twice; a container has no other user.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
# One machine: no agent to reach others is needed, nor looked for.
export OMPI_MCA_plm_rsh_agent=
# A container may forbid reading another process's memory; shared memory then
# carries the messages alone.
export OMPI_MCA_btl_vader_single_copy_mechanism=none

exec mpirun -n "$ranks" --oversubscribe --bind-to none \
  --timeout "${MOE_TEST_TIMEOUT:-500}" "$@"
