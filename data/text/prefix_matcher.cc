#include "data/text/prefix_matcher.h"

#include <algorithm>
#include <cstdint>
#include <functional>

namespace moe {

PrefixMatcher::PrefixMatcher(const std::vector<absl::string_view>& strings)
    : strings_(strings.begin(), strings.end()) {
  for (const absl::string_view string : strings_) {
    lengths_.push_back(string.size());
    first_[static_cast<uint8_t>(string[0])] = true;
  }
  std::sort(lengths_.begin(), lengths_.end(), std::greater<>());
  lengths_.erase(std::unique(lengths_.begin(), lengths_.end()), lengths_.end());
}

size_t PrefixMatcher::Match(absl::string_view text) const {
  if (text.empty() || !first_[static_cast<uint8_t>(text[0])]) return 0;
  for (const size_t length : lengths_) {
    if (length <= text.size() && strings_.contains(text.substr(0, length))) {
      return length;
    }
  }
  return 0;
}

}  // namespace moe
