// The name of a piece of optimizer state.

#include "comm/base/check.h"
#include "tests/fuzz/fuzz_target.h"
#include "trainer/checkpoint/format/state_piece.h"

namespace moe {
namespace {

constexpr int64_t kMost = int64_t{1} << 31;

bool IsRange(int64_t begin, int64_t count, int64_t most) {
  return begin >= 0 && count >= 0 && begin <= most && count <= most - begin;
}

}  // namespace

absl::Status ReadHostile(absl::string_view bytes) {
  const auto piece = ParsePieceName(bytes);
  if (!piece.has_value()) return absl::DataLossError("is no piece's name");
  const Slice& slice = piece->slice;
  CHECK(IsRange(slice.first_row, slice.num_rows, kMost));
  CHECK(IsRange(slice.first_column, slice.num_columns, kMost));
  CHECK(IsRange(piece->begin, piece->count, slice.size()));
  const std::string name = PieceName(*piece);
  const auto again = ParsePieceName(name);
  CHECK(again.has_value() && PieceName(*again) == name);
  CHECK(again->slice.size() == slice.size() && again->count == piece->count);
  return absl::OkStatus();
}

}  // namespace moe

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  moe::ReadHostile({reinterpret_cast<const char*>(data), size}).IgnoreError();
  return 0;
}
