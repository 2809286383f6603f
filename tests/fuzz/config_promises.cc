#include "tests/fuzz/config_promises.h"

#include <string>

#include "comm/base/check.h"
#include "trainer/config/config_check.h"
#include "trainer/config/config_resolve.h"
#include "trainer/config/config_text.h"

namespace moe {

void CheckConfigPromises(const TrainConfig& config) {
  const std::string text = PrintConfig(config);
  const auto again = ParseConfig(text, "again");
  CHECK(again.ok() && PrintConfig(*again) == text);

  for (const int world : {1, 6, 16}) {
    if (!ValidateConfig(config, world).ok()) continue;
    ConfigWarnings(config, world);
    const auto resolved = ResolveConfig(config, world, /*cores_per_rank=*/2);
    if (!resolved.ok()) continue;
    CHECK(ValidateConfig(*resolved, world).ok());
    const auto twice = ResolveConfig(*resolved, world, /*cores_per_rank=*/2);
    CHECK(twice.ok() && PrintConfig(*twice) == PrintConfig(*resolved));
  }
}

}  // namespace moe
