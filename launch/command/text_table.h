#ifndef LAUNCH_COMMAND_TEXT_TABLE_H_
#define LAUNCH_COMMAND_TEXT_TABLE_H_

#include <string>
#include <vector>

namespace moe {

// Rows of as many cells as columns, on lines with the columns below each other:
// those of `right` to the right, the others to the left; two spaces between
// them, none at the end of a line.
std::string TextTable(const std::vector<std::vector<std::string>>& rows,
                      const std::vector<bool>& right);

}  // namespace moe

#endif  // LAUNCH_COMMAND_TEXT_TABLE_H_
