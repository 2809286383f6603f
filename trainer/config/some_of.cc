#include "trainer/config/some_of.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace moe {

std::string SomeOf(absl::Span<const std::string> names, size_t shown) {
  std::string text = absl::StrJoin(names.subspan(0, shown), ", ");
  if (names.size() > shown)
    absl::StrAppend(&text, " and ", names.size() - shown, " more");
  return text;
}

}  // namespace moe
