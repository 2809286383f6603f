#include "trainer/checkpoint/format/state_piece.h"

#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace moe {
namespace {

// Elements of the largest tensor: products of two of them fit 64 bits.
constexpr int64_t kMost = int64_t{1} << 31;

// "3:7": [3, 7).
std::optional<std::pair<int64_t, int64_t>> ParseRange(absl::string_view text,
                                                      int64_t most) {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, ':');
  int64_t begin = 0;
  int64_t end = 0;
  if (parts.size() != 2 || !absl::SimpleAtoi(parts[0], &begin) ||
      !absl::SimpleAtoi(parts[1], &end) || begin < 0 || end < begin ||
      end > most)
    return std::nullopt;
  return std::pair(begin, end);
}

}  // namespace

std::string PieceName(const StatePiece& piece) {
  const Slice& slice = piece.slice;
  return absl::StrCat(piece.parameter, "|", piece.state, "|", slice.first_row,
                      ":", slice.first_row + slice.num_rows, ",",
                      slice.first_column, ":",
                      slice.first_column + slice.num_columns, "|", piece.begin,
                      ":", piece.begin + piece.count);
}

std::optional<StatePiece> ParsePieceName(absl::string_view name) {
  const std::vector<absl::string_view> parts = absl::StrSplit(name, '|');
  if (parts.size() != 4) return std::nullopt;
  const std::vector<absl::string_view> ranges = absl::StrSplit(parts[2], ',');
  if (ranges.size() != 2) return std::nullopt;
  const auto rows = ParseRange(ranges[0], kMost);
  const auto columns = ParseRange(ranges[1], kMost);
  if (!rows.has_value() || !columns.has_value()) return std::nullopt;
  StatePiece piece;
  piece.parameter = std::string(parts[0]);
  piece.state = std::string(parts[1]);
  piece.slice = {.first_row = rows->first,
                 .num_rows = rows->second - rows->first,
                 .first_column = columns->first,
                 .num_columns = columns->second - columns->first};
  const auto elements = ParseRange(parts[3], piece.slice.size());
  if (!elements.has_value()) return std::nullopt;
  piece.begin = elements->first;
  piece.count = elements->second - elements->first;
  return piece;
}

}  // namespace moe
