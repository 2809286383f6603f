#include "trainer/config/nearest_name.h"

#include <algorithm>
#include <vector>

namespace moe {

int EditDistance(absl::string_view a, absl::string_view b) {
  // Three rows of the table: distances of a's first i - 2, i - 1 and i
  // characters to all beginnings of b.
  std::vector<int> before(b.size() + 1);
  std::vector<int> above(b.size() + 1);
  std::vector<int> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = static_cast<int>(j);
  for (size_t i = 1; i <= a.size(); ++i) {
    before.swap(above);
    above.swap(row);
    row[0] = static_cast<int>(i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const int replaced = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, replaced});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
  }
  return row[b.size()];
}

std::string NearestName(absl::string_view typed,
                        absl::Span<const std::string> names) {
  typed = typed.substr(0, kMostCompared);
  std::string nearest;
  int least = 0;
  for (const std::string& name : names) {
    const int distance = EditDistance(typed, name);
    if (!nearest.empty() && distance >= least) continue;
    nearest = name;
    least = distance;
  }
  return nearest;
}

}  // namespace moe
