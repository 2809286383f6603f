#ifndef TRAINER_CHECKPOINT_STORE_BATCH_FILE_H_
#define TRAINER_CHECKPOINT_STORE_BATCH_FILE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "data/corpus.h"
#include "data/storage/file_system.h"

namespace moe {

struct BatchRange {
  int64_t first_sample = 0;  // of the training data
  int64_t num_steps = 1;
  int64_t global_size = 0;  // g
  int64_t length = 0;       // L
};

// Writes the sequences of some steps as safetensors: "tokens", I32
// [steps, g, L + 1], each sequence with its last target.
absl::Status WriteBatches(FileSystem& files, const std::string& path,
                          const SampleSequence& samples,
                          const BatchRange& range);

}  // namespace moe

#endif  // TRAINER_CHECKPOINT_STORE_BATCH_FILE_H_
