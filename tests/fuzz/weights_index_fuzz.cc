// model.safetensors.index.json of a checkpoint.

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "comm/base/check.h"
#include "tests/fuzz/fuzz_target.h"
#include "trainer/checkpoint/format/json_handler.h"
#include "trainer/checkpoint/format/weights_index.h"

namespace moe {

absl::Status ReadHostile(absl::string_view bytes) {
  const auto files = ParseWeightsIndex(bytes);
  if (!files.ok()) return files.status();
  for (const auto& [tensor, file] : *files) {
    CHECK(!file.empty() && file != "." && file != "..");
    CHECK(file.find_first_of(std::string("/\0", 2)) == std::string::npos);
  }
  const std::string entries = absl::StrJoin(
      *files, ",", [](std::string* out, const auto& tensor_and_file) {
        absl::StrAppend(out, JsonQuote(tensor_and_file.first), ":",
                        JsonQuote(tensor_and_file.second));
      });
  const auto again =
      ParseWeightsIndex(absl::StrCat("{\"weight_map\":{", entries, "}}"));
  CHECK(again.ok() && *again == *files);
  return absl::OkStatus();
}

}  // namespace moe

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  moe::ReadHostile({reinterpret_cast<const char*>(data), size}).IgnoreError();
  return 0;
}
