#include "launch/command/text_table.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "comm/base/check.h"

namespace moe {

std::string TextTable(const std::vector<std::vector<std::string>>& rows,
                      const std::vector<bool>& right) {
  std::vector<size_t> widths(right.size(), 0);
  for (const std::vector<std::string>& row : rows) {
    CHECK(row.size() == right.size());
    for (size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const std::vector<std::string>& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string spaces(widths[i] - row[i].size(), ' ');
      absl::StrAppend(&line, i == 0 ? "" : "  ", right[i] ? spaces : "", row[i],
                      right[i] ? "" : spaces);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    absl::StrAppend(&text, line, "\n");
  }
  return text;
}

}  // namespace moe
