#ifndef TRAINER_CHECKPOINT_DIGEST_H_
#define TRAINER_CHECKPOINT_DIGEST_H_

#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace moe {

// XXH3, 64 bits, of bytes, and of several pieces as if they were one.
uint64_t Digest(absl::string_view bytes);
uint64_t Digest(absl::Span<const absl::string_view> pieces);

}  // namespace moe

#endif  // TRAINER_CHECKPOINT_DIGEST_H_
