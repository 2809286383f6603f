#ifndef TRAINER_STEP_BATCH_DIGEST_H_
#define TRAINER_STEP_BATCH_DIGEST_H_

#include <cstdint>
#include <string>

#include "data/batch_loader.h"

namespace moe {

// What a step was trained on, as one number: each sequence has a digest of its
// position in the run's order and its tokens, targets and positions, and a
// batch the sum of its sequences', so that neither the layout nor the order of
// the sums matters. Below 2^40: a double holds the sum of 8,192 ranks exactly.
inline constexpr uint64_t kBatchDigestLimit = uint64_t{1} << 40;

// Of sequences that stand in the run's order from position `first` on; 0 of
// none. Makes nothing on the heap.
uint64_t BatchDigest(int64_t first, const TokenBlock& tokens);

// Of the parts' sum, which is a whole number below 2^53.
uint64_t SumOfBatchDigests(double sum);

// Ten hexadecimal digits.
std::string BatchDigestText(uint64_t digest);

}  // namespace moe

#endif  // TRAINER_STEP_BATCH_DIGEST_H_
