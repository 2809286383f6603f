#include "trainer/config/nesting.h"

#include <algorithm>

namespace moe {

int NestingDepth(absl::string_view text) {
  int depth = 0;
  int deepest = 0;
  char quote = '\0';  // that ends the string which this place is in
  bool in_comment = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char letter = text[i];
    if (letter == '\n') {  // ends comments, and strings with an error
      in_comment = false;
      quote = '\0';
    } else if (in_comment) {
      continue;
    } else if (quote != '\0') {
      if (letter == quote) quote = '\0';
      const bool escapes = letter == '\\' && text.substr(i + 1, 1) != "\n";
      if (escapes) ++i;
    } else if (letter == '#') {
      in_comment = true;
    } else if (letter == '"' || letter == '\'') {
      quote = letter;
    } else if (letter == '{' || letter == '<' || letter == '[') {
      deepest = std::max(deepest, ++depth);
    } else if (letter == '}' || letter == '>' || letter == ']') {
      depth = std::max(depth - 1, 0);
    }
  }
  return deepest;
}

}  // namespace moe
