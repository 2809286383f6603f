#!/usr/bin/env bash
# mpirun.sh RANKS PROGRAM [ARGUMENT...]: what the tests start ranks with. More
# ranks than cores are ordinary here, and every rank yields while it waits.
set -euo pipefail
ranks=$1
shift
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1
export OMPI_MCA_btl=self,vader OMPI_MCA_btl_vader_single_copy_mechanism=none
exec mpirun -q --bind-to none -n "$ranks" "$@"
