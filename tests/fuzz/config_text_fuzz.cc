// A configuration file.

#include "comm/base/check.h"
#include "tests/fuzz/config_promises.h"
#include "tests/fuzz/fuzz_target.h"
#include "trainer/config/config_text.h"

namespace moe {

absl::Status ReadHostile(absl::string_view bytes) {
  const auto config = ParseConfig(bytes, "run.textproto");
  if (config.ok()) {
    CheckConfigPromises(*config);
  } else {
    CHECK(!config.status().message().empty());
  }
  return config.status();
}

}  // namespace moe

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  moe::ReadHostile({reinterpret_cast<const char*>(data), size}).IgnoreError();
  return 0;
}
