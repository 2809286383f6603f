#ifndef TRAINER_FAILURE_REPORT_H_
#define TRAINER_FAILURE_REPORT_H_

#include <string>

#include "absl/status/status.h"
#include "data/corpus.h"
#include "data/file_system.h"
#include "trainer/checkpoint/batch_file.h"

namespace moe {

// After a loss or gradient that was not finite, what helps to find out why,
// besides the weights (as they were before the step):
//
//   report.txt         the error
//   batch.safetensors  the step's sequences, see WriteBatches
//
// One rank calls it.
absl::Status SaveFailure(FileSystem& files, const std::string& directory,
                         const absl::Status& failure,
                         const SampleSequence& samples, const BatchRange& step);

}  // namespace moe

#endif  // TRAINER_FAILURE_REPORT_H_
