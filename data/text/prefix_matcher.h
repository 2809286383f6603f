#ifndef DATA_TEXT_PREFIX_MATCHER_H_
#define DATA_TEXT_PREFIX_MATCHER_H_

#include <array>
#include <cstddef>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/string_view.h"

namespace moe {

// Finds which of a few strings a text begins with.
class PrefixMatcher {
 public:
  // The strings must outlive the matcher.
  explicit PrefixMatcher(const std::vector<absl::string_view>& strings);

  bool empty() const { return strings_.empty(); }
  // Length of the longest string that `text` begins with, or 0.
  size_t Match(absl::string_view text) const;

 private:
  absl::flat_hash_set<absl::string_view> strings_;
  std::vector<size_t> lengths_;       // those there are, longest first
  std::array<bool, 256> first_ = {};  // by first byte: is there any
};

}  // namespace moe

#endif  // DATA_TEXT_PREFIX_MATCHER_H_
