#include "data/storage/digest.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace moe {

uint64_t Digest(absl::string_view bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

uint64_t Digest(absl::Span<const absl::string_view> pieces) {
  XXH3_state_t state;  // on the stack: steps of training make no heap grow
  XXH3_64bits_reset(&state);
  for (const absl::string_view piece : pieces)
    XXH3_64bits_update(&state, piece.data(), piece.size());
  return XXH3_64bits_digest(&state);
}

struct StreamingDigest::State {
  XXH3_state_t xxh3;
};

StreamingDigest::StreamingDigest() : state_(std::make_unique<State>()) {
  XXH3_64bits_reset(&state_->xxh3);
}

StreamingDigest::~StreamingDigest() = default;
StreamingDigest::StreamingDigest(StreamingDigest&&) noexcept = default;
StreamingDigest& StreamingDigest::operator=(StreamingDigest&&) noexcept =
    default;

void StreamingDigest::Add(absl::string_view bytes) {
  XXH3_64bits_update(&state_->xxh3, bytes.data(), bytes.size());
}

uint64_t StreamingDigest::Value() const {
  return XXH3_64bits_digest(&state_->xxh3);
}

std::string DigestText(uint64_t digest) {
  return absl::StrFormat("%016x", digest);
}

std::string DigestLine(absl::string_view text) {
  return absl::StrCat("# xxh3 ", DigestText(Digest(text)), "\n");
}

}  // namespace moe
