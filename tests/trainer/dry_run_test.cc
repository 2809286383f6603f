#include "trainer/plan/dry_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "launch/command/presets.h"
#include "trainer/config/config_override.h"
#include "trainer/config/config_text.h"
#include "trainer/config/units.h"

namespace moe {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

absl::StatusOr<DryRun> Plan(absl::string_view preset, int world,
                            const std::vector<std::string>& overrides = {}) {
  TrainConfig config =
      *ParseConfig(FindPreset(preset)->text, std::string(preset));
  EXPECT_TRUE(ApplyOverrides(config, overrides).ok());
  return MakeDryRun(config, world);
}

TEST(DryRun, MixtralHasItsPublishedSize) {
  const auto run = Plan("mixtral-8x7b", 64);
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->parameters.total, 46702792704);
  EXPECT_EQ(run->parameters.active, 12879925248);
  const std::string text = DryRunText(*run);
  EXPECT_THAT(text, HasSubstr("46,702,792,704"));
  EXPECT_THAT(text, HasSubstr("12,879,925,248"));
  EXPECT_THAT(text, HasSubstr("64 ranks: data 64, tensor 1, expert 8, expert "
                              "replica 8"));
}

// 16 bytes a parameter all over the world: bfloat16 weights 2, gradients 4,
// and once in each reduction group masters and moments 12.
TEST(DryRun, StateOfMixtralIsSpreadOverTheWorld) {
  constexpr double kExperts = 45097156608;
  constexpr double kOthers = 46702792704 - kExperts;
  for (int world : {8, 64, 1024}) {
    const auto run = Plan("mixtral-8x7b", world);
    ASSERT_TRUE(run.ok());
    const double owned = 46702792704.0 / world;  // of this rank
    EXPECT_NEAR(static_cast<double>(run->memory.weights),
                2 * (kExperts / 8 + kOthers), 4e7);
    EXPECT_NEAR(static_cast<double>(run->memory.gradients),
                4 * (kExperts / 8 + kOthers), 2e5);
    EXPECT_NEAR(static_cast<double>(run->memory.masters), 4 * owned, 1e7);
    EXPECT_NEAR(static_cast<double>(run->memory.moments), 8 * owned, 2e7);
  }
}

TEST(DryRun, StepIsSharedByTheRanks) {
  const auto run = Plan("quickstart", 5);
  ASSERT_TRUE(run.ok());
  EXPECT_EQ(run->tokens_per_step, 32 * 128);
  EXPECT_EQ(run->sequences_per_rank, 7);
  EXPECT_EQ(run->micro_steps, 1);
  EXPECT_EQ(Plan("quickstart", 5, {"batch.micro_size=2"})->micro_steps, 4);
  EXPECT_THAT(DryRunText(*Plan("quickstart", 1, {"batch.global_size=1"})),
              HasSubstr("  1 sequence of 128"));
}

// By hand, 4 ranks, expert groups of 2: a row of 128 floats goes out and comes
// back and so does its gradient, half of the rows to the other rank.
TEST(DryRun, TrafficIsWhatTheGroupsExchange) {
  const auto run = Plan("quickstart", 4, {"parallel.expert=2"});
  ASSERT_TRUE(run.ok());
  const int64_t layers = 4;
  const int64_t rows = 8 * 128 * 2;  // sequences x tokens x experts a token
  const int64_t counts = 2 * (3 + 4) * 8;  // three numbers, then 4 experts'
  EXPECT_EQ(run->traffic[Axis::kExpert],
            layers * (rows / 2 * (4 * 128 * 4 + 2 * 4) + counts / 2));
  const int64_t expert_parameters = layers * 4 * 3 * 128 * 192;  // of 4 experts
  // Gradients, then weights.
  EXPECT_EQ(run->traffic[Axis::kExpertReplica], expert_parameters / 2 * 4 * 2);
  const int64_t norms_and_gates = (2 * layers + 1) * 128 + layers * 8 * 128;
  const int64_t others =
      run->parameters.total - 2 * expert_parameters - norms_and_gates;
  EXPECT_EQ(run->traffic[Axis::kData], others / 4 * 3 * 4 * 2);
  EXPECT_EQ(run->traffic[Axis::kTensor], 0);
  // Losses, norm, digest, flags and what each router did go to each of 3 whole.
  const int64_t totals = 8 + layers * (8 + 4);
  EXPECT_EQ(run->traffic[Axis::kWorld],
            norms_and_gates / 4 * 3 * 4 * 2 + 3 * totals * 8);
}

// By hand: each of two ranks has 1,024 of the group's 2,048 tokens and sends
// 128 floats of each where a part of the network begins or ends.
TEST(DryRun, TrafficOfATensorGroupIsWhatTheNetworkExchanges) {
  const auto run = Plan("quickstart", 4, {"parallel.tensor=2"});
  ASSERT_TRUE(run.ok()) << run.status();
  const int64_t embedding = 2, layers = 4, attention = 5, head = 2;
  const int64_t tokens = 1024;
  const int64_t sequences = 16;
  const int64_t statistics = 2 * tokens * 3 * 4;
  const int64_t agreement_on_data = 4;
  EXPECT_EQ(run->traffic[Axis::kTensor],
            tokens * 128 * 4 * (embedding + layers * attention + head) +
                statistics + layers * 2 * sequences * 8 * 8 +
                agreement_on_data);
}

// 8 experts, top-2, sequences of 128: an even share is 32 rows.
TEST(DryRun, ACapacityIsNamedAndBoundsRowsAndMemory) {
  const std::vector<std::string> layout = {"parallel.expert=2"};
  const auto with = [&](const std::string& factor) {
    return Plan("quickstart", 4,
                {"parallel.expert=2", "router.capacity_factor=" + factor});
  };
  const auto dropless = Plan("quickstart", 4, layout);
  const auto roomy = with("1.25");
  const auto tight = with("0.5");
  ASSERT_TRUE(dropless.ok() && roomy.ok() && tight.ok());
  EXPECT_THAT(DryRunText(*dropless), Not(HasSubstr("capacity")));
  EXPECT_THAT(DryRunText(*roomy),
              ContainsRegex("capacity +40  rows of each expert a sequence, "
                            "dropped by PROBABILITY"));
  EXPECT_EQ(roomy->traffic[Axis::kExpert], dropless->traffic[Axis::kExpert]);
  EXPECT_LT(roomy->memory.double_load, dropless->memory.double_load);
  EXPECT_LT(100 * tight->traffic[Axis::kExpert],
            51 * dropless->traffic[Axis::kExpert]);
  EXPECT_LT(tight->memory.activations, dropless->memory.activations);
  EXPECT_EQ(tight->memory.double_load, 0);  // every expert is full already
  EXPECT_EQ(tight->memory.received_rows_at_double_load,
            tight->memory.received_rows);
  EXPECT_EQ(4 * roomy->memory.received_rows_at_double_load,
            5 * roomy->memory.received_rows);
  EXPECT_EQ(dropless->memory.received_rows_at_double_load,
            2 * dropless->memory.received_rows);
}

TEST(DryRun, ALoneRankSendsNothing) {
  const auto run = Plan("quickstart", 1);
  ASSERT_TRUE(run.ok());
  for (Axis axis : kAllAxes) EXPECT_EQ(run->traffic[axis], 0);
  EXPECT_EQ(run->memory.exchange, 0);
  EXPECT_EQ(run->memory.received_rows, 0);
  EXPECT_THAT(DryRunText(*run), HasSubstr("nothing: it is alone"));
}

TEST(DryRun, NamesTheGroupsThatHaveOthersAndTheirBytes) {
  const auto run = Plan(
      "e8", 16,
      {"parallel.tensor=4", "parallel.expert=8", "run.compute_dtype=BFLOAT16"});
  ASSERT_TRUE(run.ok()) << run.status();
  const std::string text = DryRunText(*run);
  for (Axis axis : kAllAxes) {
    EXPECT_THAT(text, HasSubstr(std::string(Name(axis)) + " group"));
    EXPECT_THAT(text, HasSubstr(WithCommas(run->traffic[axis]) + " B"));
  }
  EXPECT_THAT(text, HasSubstr("sequences a tensor group"));
  EXPECT_THAT(text, HasSubstr("token rows, at even load"));
  const std::string alone = DryRunText(*Plan("e8", 16, {"parallel.expert=1"}));
  EXPECT_THAT(alone, Not(HasSubstr("tensor group")));
  EXPECT_THAT(alone, Not(HasSubstr("expert group")));
  EXPECT_THAT(alone, HasSubstr("expert replica group"));
}

// A row and its weight, two for each of a rank's tokens, in each
// layer.
TEST(DryRun, ReceivedRowsAreAnEvenShare) {
  const auto run = Plan("e8", 16, {"run.compute_dtype=BFLOAT16"});
  ASSERT_TRUE(run.ok()) << run.status();
  const ModelConfig& model = run->config.model();
  EXPECT_EQ(run->memory.received_rows, int64_t{model.num_hidden_layers()} * 2 *
                                           512 * 2 *
                                           (model.hidden_size() * 2 + 4));
  EXPECT_LT(run->memory.received_rows, run->memory.activations);
  EXPECT_GT(run->memory.double_load, run->memory.received_rows);
}

TEST(DryRun, AnImpossibleLayoutIsAnError) {
  const auto run = Plan("e8", 10, {"parallel.expert=4"});
  EXPECT_EQ(run.status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace moe
