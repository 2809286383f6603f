#include "trainer/batch_digest.h"

#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "data/digest.h"

namespace moe {
namespace {

// Elements [begin, begin + count) of a tensor of int32, as bytes.
absl::string_view Bytes(const Tensor& tensor, int64_t begin, int64_t count) {
  if (tensor.is_null()) return {};
  return {reinterpret_cast<const char*>(tensor.data<int32_t>() + begin),
          static_cast<size_t>(count) * sizeof(int32_t)};
}

}  // namespace

uint64_t BatchDigest(int64_t first, const MicroBatch& batch) {
  const int64_t count = batch.inputs_S.size() / batch.length;
  uint64_t sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t position = first + i;
    const int64_t begin = i * batch.length;
    const std::array<absl::string_view, 4> pieces = {
        absl::string_view(reinterpret_cast<const char*>(&position),
                          sizeof(position)),
        Bytes(batch.inputs_S, begin, batch.length),
        Bytes(batch.targets_S, begin, batch.length),
        Bytes(batch.positions_S, begin, batch.length)};
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
