#ifndef TESTS_TRAINER_FROZEN_FIXTURE_H_
#define TESTS_TRAINER_FROZEN_FIXTURE_H_

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "tests/mpi_test.h"
#include "tests/test_device.h"
#include "tests/trainer/trainer_fixture.h"

namespace moe {

// Choices of what is trained; all else is frozen.
inline bool IsExpert(const Parameter& parameter) {
  return parameter.expert >= 0;
}
inline bool IsNormOrRouter(const Parameter& parameter) {
  return parameter.is_norm || parameter.role == Role::kRouter;
}
inline bool IsOfLayerOne(const Parameter& parameter) {
  return parameter.layer == 1;
}
inline bool IsHead(const Parameter& parameter) {
  return parameter.role == Role::kHead;
}
// The upper half of the last layer and the final norm.
inline bool IsAboveAttention(const Parameter& parameter) {
  return parameter.role == Role::kFinalNorm ||
         (parameter.layer == 1 && parameter.role == Role::kRouter);
}

struct FrozenCase {
  const char* name;
  bool (*trained)(const Parameter&);
};
inline constexpr FrozenCase kFrozenCases[] = {
    {"Experts", IsExpert},
    {"NormsAndRouters", IsNormOrRouter},
    {"LayerOne", IsOfLayerOne},
    {"Head", IsHead},
    {"AboveAttention", IsAboveAttention}};

using NamedBytes = std::map<std::string, std::string>;

class FrozenTest : public testing::TestWithParam<
                       std::tuple<FrozenCase, RunConfig::ComputeDType, int>> {
 protected:
  static bool (*Trained())(const Parameter&) {
    return std::get<0>(GetParam()).trained;
  }

  // Experts are spread over the ranks; tensor groups of `tensor` where the
  // world allows.
  static TrainConfig Config() {
    TrainConfig config = SmallConfig();
    const int world = TestRuntime().world();
    const int tensor = std::get<2>(GetParam());
    config.mutable_model()->set_num_key_value_heads(4);
    config.mutable_batch()->set_sequence_length(12);
    config.mutable_batch()->set_micro_size(2);
    config.mutable_run()->set_compute_dtype(std::get<1>(GetParam()));
    config.mutable_parallel()->set_tensor(world % tensor == 0 ? tensor : 1);
    config.mutable_parallel()->set_expert(world % 2 == 0 ? 2 : 1);
    return config;
  }

  static std::unique_ptr<TestTrainer> Make(const TrainConfig& config,
                                           const TrainedPredicate& trained,
                                           const TrainingStart& start = {}) {
    return std::make_unique<TestTrainer>(config, /*alone=*/false,
                                         /*samples=*/nullptr, start,
                                         /*alter=*/nullptr, trained);
  }

  static void TrainSteps(TestTrainer& trainer, int count) {
    for (int step = 0; step < count; ++step) {
      const absl::StatusOr<StepReport> report = trainer->TrainStep();
      ASSERT_TRUE(report.ok()) << report.status();
      ASSERT_FALSE(report->skipped);
    }
  }

  // The bytes of each local parameter.
  static NamedBytes Weights(TestTrainer& trainer) {
    NamedBytes bytes;
    for (const Parameter& parameter : trainer->table().parameters())
      if (parameter.local)
        bytes[parameter.name] = HostBytes(trainer->weights().Get(parameter));
    return bytes;
  }
};

inline std::string FrozenCaseName(
    const testing::TestParamInfo<FrozenTest::ParamType>& info) {
  return absl::StrCat(
      std::get<0>(info.param).name,
      std::get<1>(info.param) == RunConfig::FLOAT32 ? "Float32" : "BFloat16",
      "Tensor", std::get<2>(info.param));
}

}  // namespace moe

#endif  // TESTS_TRAINER_FROZEN_FIXTURE_H_
