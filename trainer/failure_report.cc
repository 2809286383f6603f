#include "trainer/failure_report.h"

#include "absl/strings/str_cat.h"
#include "comm/status_macros.h"

namespace moe {

absl::Status SaveFailure(FileSystem& files, const std::string& directory,
                         const absl::Status& failure,
                         const SampleSequence& samples,
                         const BatchRange& step) {
  RETURN_IF_ERROR(files.MakeDirectories(directory));
  RETURN_IF_ERROR(WriteFileAtomically(files, JoinPath(directory, "report.txt"),
                                      absl::StrCat(failure.message(), "\n")));
  return WriteBatches(files, JoinPath(directory, "batch.safetensors"), samples,
                      step);
}

}  // namespace moe
