// What the measurements of moe-bench are made on, and its command line.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "launch/bench/bench_command.h"
#include "launch/bench/bench_tensors.h"
#include "launch/bench/row_spread.h"
#include "trainer/report/machine.h"

namespace moe {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::StatusOr<BenchCommand> Parse(std::vector<const char*> words) {
  words.insert(words.begin(), "moe-bench");
  return ParseBenchCommand(static_cast<int>(words.size()), words.data(), 1);
}

std::string ErrorOf(const std::vector<const char*>& words) {
  const auto command = Parse(words);
  EXPECT_EQ(command.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(command.status().message());
}

TEST(BenchCommand, BareItMeasuresEverything) {
  const auto command = Parse({});
  ASSERT_TRUE(command.ok()) << command.status();
  EXPECT_THAT(command->parts,
              ElementsAre("matmul", "experts", "attention", "optimizer", "step",
                          "skew", "memory"));
  EXPECT_EQ(command->array_bytes, 4 * LastCacheBytes());
  EXPECT_EQ(command->config.model().hidden_size(), 512);
}

TEST(BenchCommand, TakesPartsAndSizes) {
  const auto command = Parse({"--part=memory", "--part=step", "--array-mib=3",
                              "--seconds=2", "--json", "run.threads=1"});
  ASSERT_TRUE(command.ok()) << command.status();
  EXPECT_THAT(command->parts, ElementsAre("memory", "step"));
  EXPECT_EQ(command->array_bytes, 3 << 20);
  EXPECT_EQ(command->seconds, 2);
  EXPECT_TRUE(command->json);
}

TEST(BenchCommand, WrongUsageIsNamed) {
  EXPECT_THAT(ErrorOf({"--part=memroy"}),
              HasSubstr("'memroy', must be one of"));
  EXPECT_THAT(ErrorOf({"--array-mib=-1"}), HasSubstr("--array-mib is -1"));
  EXPECT_THAT(ErrorOf({"--array-mib=1048577"}), HasSubstr("1048577"));
  EXPECT_THAT(ErrorOf({"--seconds=0"}), HasSubstr("--seconds is 0"));
}

std::vector<int64_t> Counts(int64_t R, int64_t E, const std::string& name) {
  for (const RowSpread& spread : kRowSpreads) {
    if (spread.name != name) continue;
    const std::vector<int64_t> offsets = SpreadRows(R, E, spread);
    EXPECT_EQ(offsets.size(), static_cast<size_t>(E) + 1);
    EXPECT_EQ(offsets.front(), 0);
    EXPECT_EQ(offsets.back(), R);
    std::vector<int64_t> counts;
    for (size_t e = 0; e + 1 < offsets.size(); ++e)
      counts.push_back(offsets[e + 1] - offsets[e]);
    return counts;
  }
  ADD_FAILURE() << name;
  return {};
}

TEST(RowSpread, GivesExpertsTheirShares) {
  EXPECT_THAT(Counts(800, 4, "balanced"), Each(200));
  // 1 : 0.4353 : 0.2676 : 0.1895.
  EXPECT_THAT(Counts(1000, 4, "Zipf(1.2)"), ElementsAre(528, 230, 142, 100));
  EXPECT_THAT(Counts(600, 4, "half at one expert"),
              ElementsAre(300, 100, 100, 100));
  EXPECT_THAT(Counts(600, 1, "half at one expert"), ElementsAre(600));
  EXPECT_THAT(Counts(600, 4, "one expert"), ElementsAre(600, 0, 0, 0));
}

class BenchTensorsTest : public ::testing::Test {
 protected:
  const std::unique_ptr<Kernels> kernels_ = MakeCpuKernels(1);
  BenchTensors tensors_{*kernels_, DType::kBFloat16};
};

TEST_F(BenchTensorsTest, ChoicesOfATokenDiffer) {
  const auto choices = tensors_.MakeChoices(500, 6, 8);
  ASSERT_TRUE(choices.ok());
  std::vector<int> counts(8);
  for (int64_t t = 0; t < 500; ++t) {
    const int32_t* row = (*choices)[t].data<int32_t>();
    EXPECT_EQ(std::set<int32_t>(row, row + 6).size(), 6u);
    for (int k = 0; k < 6; ++k) ++counts.at(static_cast<size_t>(row[k]));
  }
  // 375 each, give or take.
  EXPECT_THAT(counts,
              Each(::testing::AllOf(::testing::Gt(325), ::testing::Lt(425))));
}

TEST_F(BenchTensorsTest, AreFullOfNumbersAgainAfterUse) {
  constexpr int64_t kMany = (int64_t{1} << 20) + 77;  // not one pattern
  const auto tensor = tensors_.Make({kMany});
  ASSERT_TRUE(tensor.ok());
  EXPECT_EQ(tensor->dtype(), DType::kBFloat16);
  kernels_->SetZero(*tensor);
  tensors_.Fill(*tensor);
  for (int64_t i : {int64_t{0}, kMany / 2, kMany - 1}) {
    const float x = ToFloat(tensor->data<BFloat16>()[i]);
    EXPECT_NE(x, 0) << i;
    EXPECT_LT(std::abs(x), 1) << i;
  }
}

}  // namespace
}  // namespace moe
