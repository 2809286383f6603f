// Words of the command line that set single values, one a line.

#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "tests/fuzz/config_promises.h"
#include "tests/fuzz/fuzz_target.h"
#include "trainer/config/config_override.h"

namespace moe {

absl::Status ReadHostile(absl::string_view bytes) {
  const std::vector<std::string> words =
      absl::StrSplit(bytes, '\n', absl::SkipEmpty());
  TrainConfig config;
  const absl::Status status = ApplyOverrides(config, words);
  // What stood before a word that is refused has been set.
  CheckConfigPromises(config);
  return status;
}

}  // namespace moe

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  moe::ReadHostile({reinterpret_cast<const char*>(data), size}).IgnoreError();
  return 0;
}
