// Preloaded, stops its process at a call of MPI: the rank MOE_STOP_RANK, at the
// MOE_STOP_COUNT-th call of MOE_STOP_CALL, one of the functions below, which
// are those that a job's start consists of. For lost_rank_test.sh.

#include <mpi.h>

#include <csignal>
#include <cstdlib>
#include <cstring>

namespace {

const char* Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

void MayStop(const char* call) {
  static int count = 0;
  if (std::strcmp(call, Variable("MOE_STOP_CALL")) != 0 ||
      std::strcmp(Variable("OMPI_COMM_WORLD_RANK"),
                  Variable("MOE_STOP_RANK")) != 0)
    return;
  if (++count == std::atoi(Variable("MOE_STOP_COUNT"))) raise(SIGSTOP);
}

}  // namespace

extern "C" {

int MPI_Init_thread(int* argc, char*** argv, int required, int* provided) {
  MayStop("MPI_Init_thread");
  return PMPI_Init_thread(argc, argv, required, provided);
}

int MPI_Comm_split_type(MPI_Comm comm, int type, int key, MPI_Info info,
                        MPI_Comm* result) {
  MayStop("MPI_Comm_split_type");
  return PMPI_Comm_split_type(comm, type, key, info, result);
}

int MPI_Allreduce(const void* send, void* receive, int count, MPI_Datatype type,
                  MPI_Op op, MPI_Comm comm) {
  MayStop("MPI_Allreduce");
  return PMPI_Allreduce(send, receive, count, type, op, comm);
}

int MPI_Allgather(const void* send, int send_count, MPI_Datatype send_type,
                  void* receive, int receive_count, MPI_Datatype receive_type,
                  MPI_Comm comm) {
  MayStop("MPI_Allgather");
  return PMPI_Allgather(send, send_count, send_type, receive, receive_count,
                        receive_type, comm);
}

int MPI_Bcast(void* data, int count, MPI_Datatype type, int root,
              MPI_Comm comm) {
  MayStop("MPI_Bcast");
  return PMPI_Bcast(data, count, type, root, comm);
}

}  // extern "C"
