// The same run on any layout: what a world of ranks computes is compared, on
// every rank, with what one rank computes alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "tests/mpi_test.h"
#include "tests/test_device.h"
#include "tests/trainer/layout_cases.h"
#include "tests/trainer/trainer_fixture.h"

namespace moe {
namespace {

// Squared norms of a difference and of what it is a difference to.
struct Norms {
  double difference = 0;
  double reference = 0;
};

std::string CaseName(const testing::TestParamInfo<Layout>& info) {
  return info.param.name;
}

class LayoutTest : public testing::TestWithParam<Layout> {
 protected:
  void SetUp() override {
    const int world = TestRuntime().world();
    if (world != GetParam().world)
      GTEST_SKIP() << "for " << GetParam().world << " ranks, here are "
                   << world;
  }

  static TrainConfig Config() {
    const Layout& layout = GetParam();
    TrainConfig config = SmallConfig();
    config.mutable_model()->set_num_local_experts(layout.experts);
    if (layout.tensor > 1) {  // which divides these
      config.mutable_model()->set_num_key_value_heads(4);
      config.mutable_batch()->set_sequence_length(12);
    }
    config.mutable_router()->set_aux_loss_scope(layout.scope);
    config.mutable_router()->set_capacity_factor(layout.capacity_factor);
    config.mutable_router()->set_drop_policy(layout.drop_policy);
    config.mutable_batch()->set_global_size(layout.global_size);
    config.mutable_batch()->set_micro_size(layout.micro_size);
    config.mutable_parallel()->set_expert(layout.expert);
    config.mutable_parallel()->set_tensor(layout.tensor);
    config.mutable_run()->set_compute_dtype(layout.dtype);
    config.mutable_data()->set_reset_attention(layout.documents);
    return config;
  }

  // A micro-batch's auxiliary loss depends on what is in it, so that the run
  // alone must take the same micro-steps: with MICRO_BATCH one, of everything.
  static TrainConfig ConfigAlone() {
    TrainConfig config = Config();
    config.mutable_batch()->set_micro_size(0);
    return config;
  }

  static bool IsFloat32() { return GetParam().dtype == RunConfig::FLOAT32; }
};

// Adds elements [begin, end) of a parameter's slice on this rank, `mine`, and
// those of the run alone, which holds the whole tensor.
void Compare(Norms& norms, const Parameter& parameter, const float* mine,
             const float* whole, int64_t begin, int64_t end) {
  if (begin >= end) return;
  ForEachRun(parameter.slice, parameter.num_columns(), begin, end - begin,
             [&](int64_t in_tensor, int64_t in_slice, int64_t count) {
               for (int64_t i = 0; i < count; ++i) {
                 const double a = mine[in_slice + i];
                 const double b = whole[in_tensor + i];
                 norms.difference += (a - b) * (a - b);
                 norms.reference += b * b;
               }
             });
}

const Parameter& SameParameter(TestTrainer& alone, const Parameter& parameter) {
  return alone->table()
      .parameters()[static_cast<size_t>(alone->table().Find(parameter.name))];
}

// Every element of the reduced gradient is on one rank of the world.
std::map<std::string, Norms> CompareGradients(TestTrainer& ours,
                                              TestTrainer& alone) {
  std::map<std::string, Norms> norms;
  for (const Parameter& parameter : ours->table().parameters()) {
    Norms& n = norms[parameter.name];
    if (!parameter.local) continue;
    const ShardMap& map = ours->shards()[Index(parameter.arena)];
    const int owner = ours.groups()[ReductionAxis(parameter.arena)].rank();
    const auto mine = HostValues<float>(ours->gradients().Get(parameter));
    const auto theirs = HostValues<float>(
        alone->gradients().Get(SameParameter(alone, parameter)));
    for (int bucket = 0; bucket < map.num_buckets(); ++bucket) {
      const ShardMap::Range slice = map.Slice(bucket, owner);
      const int64_t begin =
          std::max<int64_t>(slice.begin - parameter.offset, 0);
      const int64_t end = std::min(slice.begin + slice.count - parameter.offset,
                                   parameter.slice.size());
      Compare(n, parameter, mine.data(), theirs.data(), begin, end);
    }
  }
  return norms;
}

std::map<std::string, Norms> CompareWeights(TestTrainer& ours,
                                            TestTrainer& alone) {
  std::map<std::string, Norms> norms;
  for (const Parameter& parameter : ours->table().parameters()) {
    Norms& n = norms[parameter.name];
    if (!parameter.local) continue;
    const Parameter& same = SameParameter(alone, parameter);
    std::vector<float> mine(static_cast<size_t>(parameter.slice.size()));
    std::vector<float> theirs(static_cast<size_t>(same.size));
    EXPECT_TRUE(
        ours->optimizer()
            .Gather(parameter.arena, parameter.offset, absl::MakeSpan(mine))
            .ok());
    EXPECT_TRUE(alone->optimizer()
                    .Gather(same.arena, same.offset, absl::MakeSpan(theirs))
                    .ok());
    Compare(n, parameter, mine.data(), theirs.data(), 0,
            parameter.slice.size());
  }
  return norms;
}

// The largest over all parameters, norm of the difference over norm.
double Largest(std::map<std::string, Norms> norms, ProcessGroup& world) {
  double largest = 0;
  for (auto& [name, n] : norms) {
    std::vector<double> sums = {n.difference, n.reference};
    EXPECT_TRUE(
        world.AllReduce(ViewOf(absl::MakeSpan(sums)), ReduceOp::kSum).ok());
    EXPECT_GT(sums[1], 0) << name;
    largest = std::max(largest, std::sqrt(sums[0] / sums[1]));
  }
  return largest;
}

// What the routers did is counted over the world; the loads are whole numbers.
void ExpectSameRouting(const StepReport& a, const StepReport& b, bool drops,
                       double bound) {
  ASSERT_EQ(a.layers.size(), b.layers.size());
  for (size_t i = 0; i < a.layers.size(); ++i) {
    SCOPED_TRACE("layer " + std::to_string(i));
    const LayerRouting& ours = a.layers[i];
    const LayerRouting& theirs = b.layers[i];
    EXPECT_EQ(ours.load_max_over_mean, theirs.load_max_over_mean);
    EXPECT_EQ(ours.load_min_over_mean, theirs.load_min_over_mean);
    EXPECT_EQ(ours.load_cv, theirs.load_cv);
    EXPECT_EQ(ours.load_entropy, theirs.load_entropy);
    EXPECT_EQ(ours.experts_without_tokens, theirs.experts_without_tokens);
    EXPECT_EQ(ours.dropped_fraction, theirs.dropped_fraction);
    EXPECT_EQ(ours.dropped_fraction > 0, drops);
    EXPECT_NEAR(ours.top_probability / theirs.top_probability, 1, bound);
    EXPECT_NEAR(ours.aux_loss / theirs.aux_loss, 1, bound);
    EXPECT_NEAR(ours.z_loss / theirs.z_loss, 1, bound);
  }
}

// SWITCH: the losses are sums over layers.
void ExpectLayersSumToLosses(const StepReport& report) {
  double aux = 0;
  double z = 0;
  for (const LayerRouting& layer : report.layers) {
    aux += layer.aux_loss;
    z += layer.z_loss;
  }
  EXPECT_NEAR(aux / report.losses.aux, 1, 1e-12);
  EXPECT_NEAR(z / report.losses.z, 1, 1e-12);
}

// How far two runs are apart over twenty steps, relative: the largest over
// parameters or steps.
struct Differences {
  double gradient = 0;  // of the first step
  double loss = 0;
  double terms = 0;  // auxiliary loss, z-loss, norm of the gradient
  double weights = 0;
  bool same_experts = true;  // every expert got as many tokens
};

// `check` sees both reports of every step.
using StepCheck = absl::FunctionRef<void(const StepReport&, const StepReport&)>;
Differences Measure(TestTrainer& ours, TestTrainer& alone, StepCheck check) {
  Differences d;
  const auto note = [](double& largest, double a, double b) {
    largest = std::max(largest, std::abs(a / b - 1));
  };
  for (int step = 1; step <= 20; ++step) {
    const absl::StatusOr<StepReport> a = ours->TrainStep();
    const absl::StatusOr<StepReport> b = alone->TrainStep();
    EXPECT_TRUE(a.ok()) << a.status();
    EXPECT_TRUE(b.ok()) << b.status();
    if (!a.ok() || !b.ok()) return d;
    if (step == 1)
      d.gradient = Largest(CompareGradients(ours, alone), ours.world());
    if (!std::equal(ours->expert_counts().begin(), ours->expert_counts().end(),
                    alone->expert_counts().begin()))
      d.same_experts = false;
    note(d.loss, a->losses.cross_entropy, b->losses.cross_entropy);
    note(d.terms, a->losses.aux, b->losses.aux);
    note(d.terms, a->losses.z, b->losses.z);
    note(d.terms, a->grad_norm, b->grad_norm);
    check(*a, *b);
  }
  d.weights = Largest(CompareWeights(ours, alone), ours.world());
  return d;
}

TEST_P(LayoutTest, FirstGradientsAndTwentyStepsAreThoseOfOneRank) {
  if (!IsFloat32()) GTEST_SKIP() << "bfloat16 has a test of its own";
  TestTrainer ours(Config(), /*alone=*/false);
  TestTrainer alone(ConfigAlone(), /*alone=*/true);
  const bool drops = GetParam().capacity_factor > 0;
  const Differences d =
      Measure(ours, alone, [drops](const StepReport& a, const StepReport& b) {
        ExpectSameRouting(a, b, drops, 1e-4);
        ExpectLayersSumToLosses(a);
      });
  EXPECT_TRUE(d.same_experts) << "tokens went to other experts";
  EXPECT_LE(d.gradient, 1e-5);
  EXPECT_LE(d.loss, 1e-5);
  EXPECT_LE(d.terms, 1e-4);
  EXPECT_LE(d.weights, 1e-4);
}

// The measure of bfloat16 is its own rounding: how far one rank's bfloat16 run
// is from its float32 run. Over twenty steps two such runs are as far apart;
// three times that is the limit.
TEST_P(LayoutTest, InBFloat16StaysWithinItsRoundingOfOneRank) {
  if (IsFloat32()) GTEST_SKIP() << "float32 has a test of its own";
  TrainConfig exact_config = ConfigAlone();
  exact_config.mutable_run()->set_compute_dtype(RunConfig::FLOAT32);
  TestTrainer exact(exact_config, /*alone=*/true);
  TestTrainer rounded(ConfigAlone(), /*alone=*/true);
  const auto no_check = [](const StepReport&, const StepReport&) {};
  const Differences rounding = Measure(rounded, exact, no_check);
  TestTrainer ours(Config(), /*alone=*/false);
  TestTrainer alone(ConfigAlone(), /*alone=*/true);
  const Differences d = Measure(ours, alone, no_check);
  EXPECT_LE(d.gradient, 2e-2);
  EXPECT_LE(d.loss, 3 * rounding.loss);
  EXPECT_LE(d.terms, 3 * rounding.terms);
  EXPECT_LE(d.weights, 3 * rounding.weights);
  if (ours.world().rank() == 0) {
    std::printf(
        "from one rank / its bfloat16 from float32: gradients %.1e / %.1e, "
        "loss %.1e / %.1e, other terms %.1e / %.1e, weights %.1e / %.1e\n",
        d.gradient, rounding.gradient, d.loss, rounding.loss, d.terms,
        rounding.terms, d.weights, rounding.weights);
  }
}

TEST_P(LayoutTest, TwoRunsAgreeBitForBit) {
  TestTrainer first(Config(), /*alone=*/false);
  TestTrainer second(Config(), /*alone=*/false);
  for (int step = 1; step <= 5; ++step) {
    const absl::StatusOr<StepReport> a = first->TrainStep();
    const absl::StatusOr<StepReport> b = second->TrainStep();
    ASSERT_TRUE(a.ok() && b.ok());
    EXPECT_EQ(a->losses.cross_entropy, b->losses.cross_entropy);
    EXPECT_EQ(a->losses.aux, b->losses.aux);
    EXPECT_EQ(a->grad_norm, b->grad_norm);
  }
  for (ArenaKind kind : kAllArenaKinds) {
    EXPECT_TRUE(HostBytes(first->weights().arena(kind)) ==
                HostBytes(second->weights().arena(kind)));
  }
}

INSTANTIATE_TEST_SUITE_P(DataAndExpert, LayoutTest,
                         testing::ValuesIn(kDataAndExpertLayouts), CaseName);
INSTANTIATE_TEST_SUITE_P(Tensor, LayoutTest, testing::ValuesIn(kTensorLayouts),
                         CaseName);

}  // namespace
}  // namespace moe
