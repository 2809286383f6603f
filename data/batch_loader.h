#ifndef DATA_BATCH_LOADER_H_
#define DATA_BATCH_LOADER_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "data/corpus.h"

namespace moe {

// `count` samples, one after another, L tokens each.
struct TokenBlock {
  int64_t count = 0;
  absl::Span<const int32_t> inputs;   // [count, L]
  absl::Span<const int32_t> targets;  // [count, L]
  // [count, L], see SampleSequence::Read; empty without reset_attention.
  absl::Span<const int32_t> positions;
  int64_t num_targets = 0;  // those that are not -1
};

// Reads samples on a thread of its own while the step runs.
class BatchLoader {
 public:
  // With `reset_attention` samples are read with their positions.
  BatchLoader(const SampleSequence& samples, int64_t sequence_length,
              bool reset_attention = false);
  ~BatchLoader();
  BatchLoader(const BatchLoader&) = delete;
  BatchLoader& operator=(const BatchLoader&) = delete;

  // Starts reading samples [first, first + count). The block prepared before
  // must have been taken.
  void Prepare(int64_t first, int64_t count);
  // The prepared block, waited for. It stays valid until the next Take.
  // ResourceExhausted: there is no thread to read with.
  absl::StatusOr<TokenBlock> Take();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace moe

#endif  // DATA_BATCH_LOADER_H_
