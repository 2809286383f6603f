#include "comm/mpi/mpi_status.h"

#include <mpi.h>

#include "absl/strings/str_cat.h"

namespace moe {

absl::Status MpiStatus(int error_code, absl::string_view what) {
  if (error_code == MPI_SUCCESS) return absl::OkStatus();
  char text[MPI_MAX_ERROR_STRING] = "unknown MPI error";
  int length = 0;
  MPI_Error_string(error_code, text, &length);
  return absl::UnavailableError(absl::StrCat(what, ": ", text));
}

}  // namespace moe
