#include "trainer/generate/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "trainer/generate/generator.h"

namespace moe {
namespace {

// Probabilities 0.1, 0.4, 0.2, 0.3 at temperature 1.
std::vector<float> FourLogits() {
  return {std::log(0.1f), std::log(0.4f), std::log(0.2f), std::log(0.3f)};
}

// Shares of the tokens over the whole interval of `uniform`.
std::map<int, double> Shares(const std::vector<float>& logits,
                             const SamplingOptions& options) {
  std::map<int, double> shares;
  constexpr int kSteps = 20000;
  for (int i = 0; i < kSteps; ++i)
    shares[SampleToken(logits, options, (i + 0.5) / kSteps)] += 1.0 / kSteps;
  return shares;
}

void ExpectShares(const std::map<int, double>& shares,
                  const std::map<int, double>& expected) {
  EXPECT_EQ(shares.size(), expected.size());
  for (const auto& [token, share] : expected) {
    ASSERT_TRUE(shares.count(token)) << token;
    EXPECT_NEAR(shares.at(token), share, 1e-3) << token;
  }
}

TEST(Sampler, TemperatureZeroIsArgmaxWhateverTheRest) {
  for (double uniform : {0.0, 0.5, 0.999999})
    EXPECT_EQ(
        SampleToken(FourLogits(), {.temperature = 0, .top_k = 3, .top_p = 0.5},
                    uniform),
        1);
}

TEST(Sampler, TiesGoToTheLowerId) {
  const std::vector<float> logits = {1, 5, 5, 5};
  EXPECT_EQ(SampleToken(logits, {.temperature = 0}, 0.9), 1);
  EXPECT_EQ(SampleToken(logits, {.top_k = 1}, 0.9), 1);
  ExpectShares(Shares(logits, {.top_k = 2}), {{1, 0.5}, {2, 0.5}});
}

TEST(Sampler, AllTokensComeByTheirProbability) {
  ExpectShares(Shares(FourLogits(), {}),
               {{0, 0.1}, {1, 0.4}, {2, 0.2}, {3, 0.3}});
}

TEST(Sampler, TemperatureSharpensAndFlattens) {
  // At 1/2 probabilities go by their squares: 1, 16, 4, 9 of 30.
  ExpectShares(Shares(FourLogits(), {.temperature = 0.5}),
               {{0, 1 / 30.0}, {1, 16 / 30.0}, {2, 4 / 30.0}, {3, 9 / 30.0}});
  const auto flat = Shares(FourLogits(), {.temperature = 1e6});
  ExpectShares(flat, {{0, 0.25}, {1, 0.25}, {2, 0.25}, {3, 0.25}});
}

TEST(Sampler, TopKKeepsTheLikeliest) {
  ExpectShares(Shares(FourLogits(), {.top_k = 2}),
               {{1, 4 / 7.0}, {3, 3 / 7.0}});
  ExpectShares(Shares(FourLogits(), {.top_k = 100}),
               {{0, 0.1}, {1, 0.4}, {2, 0.2}, {3, 0.3}});
}

TEST(Sampler, TopPKeepsTheFewestThatReachIt) {
  ExpectShares(Shares(FourLogits(), {.top_p = 0.39}), {{1, 1.0}});
  ExpectShares(Shares(FourLogits(), {.top_p = 0.41}),
               {{1, 4 / 7.0}, {3, 3 / 7.0}});
  ExpectShares(Shares(FourLogits(), {.top_p = 0.95}),
               {{0, 0.1}, {1, 0.4}, {2, 0.2}, {3, 0.3}});
  // Never none.
  ExpectShares(Shares(FourLogits(), {.top_p = 1e-12}), {{1, 1.0}});
}

TEST(Sampler, TopPCountsWithinTopK) {
  // Of the two likeliest alone, the first has 4/7 = 0.571.
  ExpectShares(Shares(FourLogits(), {.top_k = 2, .top_p = 0.57}), {{1, 1.0}});
  ExpectShares(Shares(FourLogits(), {.top_k = 2, .top_p = 0.58}),
               {{1, 4 / 7.0}, {3, 3 / 7.0}});
}

TEST(Sampler, LargeLogitsDoNotOverflow) {
  const std::vector<float> logits = {-3e38f, 3e38f, 1e38f};
  ExpectShares(Shares(logits, {}), {{1, 1.0}});
  ExpectShares(Shares(logits, {.temperature = 1e-9}), {{1, 1.0}});
}

TEST(Sampler, OneTokenIsAlwaysIt) {
  EXPECT_EQ(SampleToken({-7.0f}, {.top_p = 0.5}, 0.99), 0);
}

TEST(Sampler, TheWholeIntervalStaysInside) {
  const double last = std::nextafter(1.0, 0.0);
  EXPECT_EQ(SampleToken(FourLogits(), {}, 0), 1);
  EXPECT_EQ(SampleToken(FourLogits(), {}, last), 0);
  EXPECT_EQ(SampleToken(FourLogits(), {.top_k = 2}, last), 3);
}

TEST(Sampler, OptionsOutOfRangeAreNamed) {
  auto message = [](const SamplingOptions& options) {
    const absl::Status status = ValidateSampling(options);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_EQ(message({.temperature = -0.5}),
            "--temperature is -0.5, must be at least 0");
  EXPECT_EQ(message({.top_k = -1}),
            "--top-k is -1, must be at least 0 (0: all)");
  EXPECT_EQ(message({.top_p = 0}),
            "--top-p is 0, must be greater than 0 and at most 1 (1: all)");
  message({.top_p = 1.5});
  const double nan = std::numeric_limits<double>::quiet_NaN();
  message({.temperature = nan});
  message({.top_p = nan});
  EXPECT_TRUE(ValidateSampling({}).ok());
  EXPECT_TRUE(
      ValidateSampling({.temperature = 0, .top_k = 5, .top_p = 1}).ok());
}

TEST(ValidateGenerate, NamesTheOption) {
  const auto message = [](const GenerateOptions& options) {
    const absl::Status status = ValidateGenerate(options);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  const SamplingOptions sampling;
  EXPECT_EQ(message({.prompt = "a", .max_tokens = 0, .sampling = sampling}),
            "--max-tokens is 0, must be at least 1");
  EXPECT_EQ(message({.prompt = "a", .sampling = sampling, .seed = -1}),
            "--seed is -1, must be at least 0");
  EXPECT_THAT(
      message({.prompt = "ab\xE9", .sampling = sampling}),
      testing::HasSubstr("must be UTF-8; the byte at offset 2 is none"));
  EXPECT_TRUE(
      ValidateGenerate({.prompt = "caf\xC3\xA9", .sampling = sampling}).ok());
}

}  // namespace
}  // namespace moe
