#include "trainer/step/batch_digest.h"

#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "data/storage/digest.h"

namespace moe {
namespace {

// Elements [begin, begin + count) as bytes; none where there are no elements.
absl::string_view Bytes(absl::Span<const int32_t> tokens, size_t begin,
                        size_t count) {
  if (tokens.empty()) return {};
  return {reinterpret_cast<const char*>(tokens.data() + begin),
          count * sizeof(int32_t)};
}

}  // namespace

uint64_t BatchDigest(int64_t first, const TokenBlock& tokens) {
  if (tokens.count == 0) return 0;
  const size_t count = static_cast<size_t>(tokens.count);
  const size_t length = tokens.inputs.size() / count;
  uint64_t sum = 0;
  for (size_t i = 0; i < count; ++i) {
    const int64_t position = first + static_cast<int64_t>(i);
    const size_t begin = i * length;
    const std::array<absl::string_view, 4> pieces = {
        absl::string_view(reinterpret_cast<const char*>(&position),
                          sizeof(position)),
        Bytes(tokens.inputs, begin, length),
        Bytes(tokens.targets, begin, length),
        Bytes(tokens.positions, begin, length)};
    sum += Digest(absl::MakeConstSpan(pieces)) % kBatchDigestLimit;
  }
  return sum % kBatchDigestLimit;
}

uint64_t SumOfBatchDigests(double sum) {
  return static_cast<uint64_t>(sum) % kBatchDigestLimit;
}

std::string BatchDigestText(uint64_t digest) {
  return absl::StrCat(absl::Hex(digest, absl::kZeroPad10));
}

}  // namespace moe
