// config.json of a checkpoint.

#include <cmath>
#include <string>

#include "comm/base/check.h"
#include "moe/model_config.h"
#include "tests/fuzz/fuzz_target.h"
#include "trainer/checkpoint/format/hf_config.h"

namespace moe {

absl::Status ReadHostile(absl::string_view bytes) {
  const auto config = ParseConfigJson(bytes);
  if (!config.ok()) return config.status();
  CHECK(ValidateModel(config->model).ok());
  CHECK(config->model.max_position_embeddings() > 0);
  CHECK(config->max_length() > 0);
  CHECK(std::isfinite(config->router_aux_loss_coef));

  const std::string written = ConfigJson(*config);
  const auto again = ParseConfigJson(written);
  CHECK(again.ok() && ConfigJson(*again) == written);
  return absl::OkStatus();
}

}  // namespace moe

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  moe::ReadHostile({reinterpret_cast<const char*>(data), size}).IgnoreError();
  return 0;
}
