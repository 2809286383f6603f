#ifndef COMM_MPI_MPI_STATUS_H_
#define COMM_MPI_MPI_STATUS_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace moe {

// OK for MPI_SUCCESS; else Unavailable with `what` and MPI's own text.
absl::Status MpiStatus(int error_code, absl::string_view what);

}  // namespace moe

#endif  // COMM_MPI_MPI_STATUS_H_
