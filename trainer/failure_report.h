#ifndef TRAINER_FAILURE_REPORT_H_
#define TRAINER_FAILURE_REPORT_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "data/corpus.h"
#include "data/file_system.h"

namespace moe {

// After a loss or gradient that was not finite, what helps to find out why,
// besides the weights (as they were before the step):
//
//   report.txt         the error
//   batch.safetensors  "tokens", I32 [g, L + 1]: the step's sequences, each
//                      with its last target
//
// One rank calls it.
absl::Status SaveFailure(FileSystem& files, const std::string& directory,
                         const absl::Status& failure,
                         const SampleSequence& samples, int64_t first_sample,
                         int64_t num_samples, int64_t sequence_length);

}  // namespace moe

#endif  // TRAINER_FAILURE_REPORT_H_
