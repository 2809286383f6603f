#ifndef TRAINER_REPORT_FAILURE_REPORT_H_
#define TRAINER_REPORT_FAILURE_REPORT_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "comm/mesh.h"
#include "data/corpus.h"
#include "data/storage/file_system.h"
#include "trainer/config/train_config.pb.h"
#include "trainer/step/non_finite.h"

namespace moe {

// A step that ended a run, with all that its report tells of. All outlive the
// call that they are given to.
struct Failure {
  absl::string_view message;
  const NonFinite& what;
  const TrainConfig& config;
  const Mesh& mesh;
  const SampleSequence& samples;
  int64_t consumed_samples = 0;  // of these, before the step
  int64_t skipped_steps = 0;     // before it
};

// report.json's text: an object with the message, the fields of NonFinite (null
// where it has none; micro-steps from 1), the step's samples by their index in
// the training data, those of them that the rank of `first` had in its
// micro-step, and the names of the batch's and the state's files.
std::string FailureJson(const Failure& failure);

// After a loss or gradient that was not finite, what helps to find out why,
// besides the state (as it was before the step):
//
//   report.txt         the message
//   report.json        FailureJson
//   batch.safetensors  the step's sequences, see WriteBatches
//
// One rank calls it.
absl::Status SaveFailure(FileSystem& files, const std::string& directory,
                         const Failure& failure);

}  // namespace moe

#endif  // TRAINER_REPORT_FAILURE_REPORT_H_
