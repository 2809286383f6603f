#include "comm/base/philox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace moe {
namespace {

using ::testing::ElementsAre;

// The known answers of Random123 1.14, tests/kat_vectors, "philox4x32 10".
TEST(Philox, GivesThePublishedKnownAnswers) {
  EXPECT_THAT(Philox(0).Block(0, 0),
              ElementsAre(0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8));
  EXPECT_THAT(Philox(~uint64_t{0}).Block(~uint64_t{0}, ~uint64_t{0}),
              ElementsAre(0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd));
  EXPECT_THAT(
      Philox(0x299f31d0a4093822).Block(0x85a308d3243f6a88, 0x0370734413198a2e),
      ElementsAre(0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1));
}

TEST(Philox, SeedAndNameBothKeyTheSequence) {
  const auto first = Philox(1, "lm_head.weight").Block(0);
  EXPECT_EQ(Philox(1, "lm_head.weight").Block(0), first);
  EXPECT_NE(Philox(2, "lm_head.weight").Block(0), first);
  EXPECT_NE(Philox(1, "lm_head.weighs").Block(0), first);
}

std::vector<float> Normals(uint64_t begin, size_t count, float deviation) {
  std::vector<float> normals(count);
  Philox(7).FillNormal(begin, deviation, absl::MakeSpan(normals));
  return normals;
}

TEST(Philox, NormalsAreTheSameForAnySplitOfTheRange) {
  const std::vector<float> whole = Normals(0, 103, 0.02f);
  for (size_t begin = 0; begin < whole.size(); ++begin) {
    for (size_t count : {size_t{1}, size_t{3}, size_t{8}, size_t{33}}) {
      if (begin + count > whole.size()) continue;
      const std::vector<float> part = Normals(begin, count, 0.02f);
      for (size_t i = 0; i < count; ++i)
        ASSERT_EQ(part[i], whole[begin + i]) << begin << " + " << i;
    }
  }
}

TEST(Philox, NormalsHaveTheMomentsOfANormalDistribution) {
  constexpr size_t kCount = 400000;
  const std::vector<float> x = Normals(12345, kCount, 2.0f);
  double mean = 0.0, square = 0.0, cube = 0.0, fourth = 0.0, neighbour = 0.0;
  for (size_t i = 0; i < kCount; ++i) {
    const double z = x[i] / 2.0;
    mean += z;
    square += z * z;
    cube += z * z * z;
    fourth += z * z * z * z;
    if (i > 0) neighbour += z * x[i - 1] / 2.0;
  }
  // Five deviations of each estimate: sqrt(1, 2, 15, 96, 1) / sqrt(count).
  const double unit = 5.0 / std::sqrt(static_cast<double>(kCount));
  EXPECT_NEAR(mean / kCount, 0.0, unit);
  EXPECT_NEAR(square / kCount, 1.0, unit * std::sqrt(2.0));
  EXPECT_NEAR(cube / kCount, 0.0, unit * std::sqrt(15.0));
  EXPECT_NEAR(fourth / kCount, 3.0, unit * std::sqrt(96.0));
  EXPECT_NEAR(neighbour / kCount, 0.0, unit);
}

TEST(Philox, UniformNumbersFillTheUnitInterval) {
  constexpr int kBins = 50;
  constexpr int kPerBin = 2000;
  std::vector<int> bins(kBins);
  const Philox philox(3);
  for (uint64_t i = 0; i < kBins * kPerBin; ++i) {
    const double u = philox.Uniform(i);
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    ++bins[static_cast<size_t>(u * kBins)];
  }
  double chi_square = 0.0;
  for (int count : bins)
    chi_square += (count - kPerBin) * (count - kPerBin) / double{kPerBin};
  // 49 degrees of freedom: above 94 once in 10 000.
  EXPECT_LT(chi_square, 94.0);
}

TEST(KeyedPermutation, IsABijectionOfEverySize) {
  for (uint64_t size : {1, 2, 3, 4, 5, 7, 16, 17, 100, 65537}) {
    const KeyedPermutation permutation(11, size);
    std::vector<bool> seen(size);
    for (uint64_t i = 0; i < size; ++i) {
      const uint64_t image = permutation(i);
      ASSERT_LT(image, size);
      ASSERT_FALSE(seen[image]) << "twice " << image << " of " << size;
      seen[image] = true;
    }
  }
}

TEST(KeyedPermutation, ReachesEveryPositionOfHugeRanges) {
  const uint64_t size = ~uint64_t{0};
  const KeyedPermutation permutation(5, size);
  EXPECT_LT(permutation(0), size);
  EXPECT_NE(permutation(0), permutation(size - 1));
}

TEST(KeyedPermutation, DependsOnTheKeyAndShuffles) {
  constexpr uint64_t kSize = 1000;
  const KeyedPermutation first(1, kSize), second(2, kSize);
  int fixed = 0, common = 0, successive = 0;
  for (uint64_t i = 0; i < kSize; ++i) {
    fixed += first(i) == i;
    common += first(i) == second(i);
    successive += i > 0 && first(i) == first(i - 1) + 1;
  }
  // Each is a Poisson number of mean 1 for random permutations.
  EXPECT_LT(fixed, 8);
  EXPECT_LT(common, 8);
  EXPECT_LT(successive, 8);
}

}  // namespace
}  // namespace moe
