// Float sums are the ordered loop over ranks, to the bit (Order), and keep what
// ProcessGroup's contract promises (CollectiveContract).

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "comm/base/philox.h"
#include "comm/process_group.h"
#include "tests/comm/group_fixture.h"

namespace moe {
namespace {

// One message for each pair of ranks, and two stages.
constexpr int64_t kCounts[] = {5, 2301};

// A rank's numbers, of magnitudes from 2^-12 to 2^12 so that sums depend on
// the order: elements [begin, begin + count). Any rank knows those of every
// other.
template <typename T>
std::vector<T> Numbers(int rank, int64_t begin, int64_t count) {
  const Philox philox(static_cast<uint64_t>(rank) + 1);
  return Fill<T>(count, [&](int64_t i) {
    const auto index = static_cast<uint64_t>(2 * (begin + i));
    const double magnitude =
        std::floor(philox.Uniform(index + 1) * 25.0) - 12.0;
    return std::ldexp(philox.Uniform(index) - 0.5, static_cast<int>(magnitude));
  });
}

// Elements [begin, begin + count) of the sum over ranks in ascending order
// (or descending), accumulated in Accumulator and rounded once.
template <typename T, typename Accumulator>
std::vector<double> Sum(int size, int64_t begin, int64_t count,
                        bool descending = false) {
  std::vector<Accumulator> sum(static_cast<size_t>(count));
  for (int step = 0; step < size; ++step) {
    const int rank = descending ? size - 1 - step : step;
    const std::vector<T> numbers = Numbers<T>(rank, begin, count);
    for (size_t i = 0; i < sum.size(); ++i) {
      const auto x = static_cast<Accumulator>(Value(numbers[i]));
      sum[i] = step == 0 ? x : sum[i] + x;
    }
  }
  std::vector<double> rounded;
  for (Accumulator x : sum)
    rounded.push_back(Value(Cast<T>(static_cast<double>(x))));
  return rounded;
}

class Order : public GroupTest {
 protected:
  template <typename T, typename Accumulator>
  void ExpectOrderedSums() {
    for (int64_t count : kCounts) {
      std::vector<T> data = Numbers<T>(rank(), 0, count);
      EXPECT_TRUE(group().AllReduce(View(data), ReduceOp::kSum).ok());
      EXPECT_EQ(Values(data), (Sum<T, Accumulator>(size(), 0, count)));

      const auto expected = Sum<T, Accumulator>(size(), rank() * count, count);
      std::vector<T> input = Numbers<T>(rank(), 0, count * size());
      std::vector<T> output(static_cast<size_t>(count));
      EXPECT_TRUE(group().ReduceScatter(View(input), View(output)).ok());
      EXPECT_EQ(Values(output), expected);
      const MemoryView own = View(input).Slice(rank() * count, count);
      EXPECT_TRUE(group().ReduceScatter(View(input), own).ok());
      const T* first = static_cast<const T*>(own.data);
      EXPECT_EQ(Values(std::vector<T>(first, first + count)), expected);
    }
  }
};

TEST_P(Order, Float32SumsAddInRankOrder) { ExpectOrderedSums<float, float>(); }

TEST_P(Order, Float64SumsAddInRankOrder) {
  ExpectOrderedSums<double, double>();
}

TEST_P(Order, BFloat16SumsKeepFloat32AndRoundOnce) {
  ExpectOrderedSums<BFloat16, float>();
}

// The tests above would not see a wrong order of numbers that add exactly.
TEST_P(Order, TheNumbersOfTheseTestsDependOnTheOrder) {
  if (size() < 3) GTEST_SKIP() << "two numbers have one order";
  constexpr int64_t kCount = kCounts[1];
  EXPECT_NE((Sum<float, float>(size(), 0, kCount)),
            (Sum<float, float>(size(), 0, kCount, true)));
  EXPECT_NE((Sum<double, double>(size(), 0, kCount)),
            (Sum<double, double>(size(), 0, kCount, true)));
  // Rounding to bfloat16 after every step gives something else.
  std::vector<float> rounded_often(kCount);
  for (int r = 0; r < size(); ++r) {
    const std::vector<BFloat16> numbers = Numbers<BFloat16>(r, 0, kCount);
    for (size_t i = 0; i < numbers.size(); ++i)
      rounded_often[i] =
          ToFloat(ToBFloat16(rounded_often[i] + ToFloat(numbers[i])));
  }
  EXPECT_NE((Sum<BFloat16, float>(size(), 0, kCount)), Values(rounded_often));
}

// What callers may rely on; unlike Order it holds for any order that the
// contract allows.
class CollectiveContract : public GroupTest {
 protected:
  // The sum over ranks of their first `count` numbers.
  template <typename T>
  std::vector<double> SumOfFirst(int64_t count) {
    std::vector<T> data = Numbers<T>(rank(), 0, count);
    EXPECT_TRUE(group().AllReduce(View(data), ReduceOp::kSum).ok());
    return Values(data);
  }
};

TEST_P(CollectiveContract, ASumIsTheSameBitsOnEachCall) {
  for (int64_t count : kCounts) {
    EXPECT_EQ(SumOfFirst<float>(count), SumOfFirst<float>(count));
    EXPECT_EQ(SumOfFirst<BFloat16>(count), SumOfFirst<BFloat16>(count));
  }
}

TEST_P(CollectiveContract, ASumIsTheSameBitsWhateverElseIsUnderWay) {
  constexpr int64_t kCount = kCounts[1];
  const std::vector<double> alone = SumOfFirst<float>(kCount);
  std::vector<std::vector<float>> together(3,
                                           Numbers<float>(rank(), 0, kCount));
  std::vector<std::unique_ptr<Work>> works;
  for (std::vector<float>& data : together) {
    auto work = group().StartAllReduce(View(data), ReduceOp::kSum);
    ASSERT_TRUE(work.ok()) << work.status();
    works.push_back(*std::move(work));
  }
  for (const size_t i : {1u, 2u, 0u}) EXPECT_TRUE(works[i]->Wait().ok());
  for (const std::vector<float>& data : together)
    EXPECT_EQ(Values(data), alone);
}

TEST_P(CollectiveContract, ASumIsTheSameBitsWhateverTheCount) {
  std::vector<double> first_of_many = SumOfFirst<float>(kCounts[1]);
  first_of_many.resize(kCounts[0]);
  EXPECT_EQ(SumOfFirst<float>(kCounts[0]), first_of_many);
}

TEST_P(CollectiveContract, EveryRankHasTheSameSum) {
  for (int64_t count : kCounts) {
    std::vector<double> sum = SumOfFirst<float>(count);
    std::vector<double> all(sum.size() * static_cast<size_t>(size()));
    ASSERT_TRUE(group().AllGather(View(sum), View(all)).ok());
    for (size_t i = 0; i < all.size(); ++i)
      ASSERT_EQ(all[i], sum[i % sum.size()]) << "rank " << i / sum.size();
  }
}

INSTANTIATE_TEST_SUITE_P(Groups, Order, testing::ValuesIn(AllGroupKinds()),
                         KindOfParam);
INSTANTIATE_TEST_SUITE_P(Groups, CollectiveContract,
                         testing::ValuesIn(AllGroupKinds()), KindOfParam);

}  // namespace
}  // namespace moe
