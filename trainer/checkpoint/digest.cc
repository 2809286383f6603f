#include "trainer/checkpoint/digest.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace moe {

uint64_t Digest(absl::string_view bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

uint64_t Digest(absl::Span<const absl::string_view> pieces) {
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  for (absl::string_view piece : pieces)
    XXH3_64bits_update(&state, piece.data(), piece.size());
  return XXH3_64bits_digest(&state);
}

}  // namespace moe
