// What every ProcessGroup promises of each collective: run over all kinds of
// groups, and started on 1 to 16 ranks.

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <numeric>
#include <vector>

#include "comm/process_group.h"
#include "tests/comm/group_fixture.h"

namespace moe {
namespace {

// Fewer and more elements than ranks, odd ones, enough for two stages (more
// than 4096 bytes), and for several messages of the longest that a group sends.
constexpr int64_t kCounts[] = {0, 1, 7, 33, 2500, 7001};

class Conformance : public GroupTest {
 protected:
  // Of what all ranks cut into pieces: besides, pieces of several messages.
  std::vector<int64_t> CountsOfWholes() const {
    std::vector<int64_t> counts(std::begin(kCounts), std::end(kCounts));
    counts.push_back(3001 * size() + 1);
    return counts;
  }
  // A small number that differs between ranks and elements.
  static double X(int rank, int64_t i) {
    return static_cast<double>((rank + 1) * (1 + i % 3));
  }
  std::vector<double> SumOfX(int64_t begin, int64_t count) const {
    return Fill<double>(count, [&](int64_t i) {
      double sum = 0.0;
      for (int r = 0; r < size(); ++r) sum += X(r, begin + i);
      return sum;
    });
  }
};

TEST_P(Conformance, AllReduceAddsEveryDType) {
  ForEachDType([&]<typename T>(T) {
    for (int64_t count : CountsOfWholes()) {
      auto data = Fill<T>(count, [&](int64_t i) { return X(rank(), i); });
      EXPECT_TRUE(group().AllReduce(View(data), ReduceOp::kSum).ok());
      EXPECT_EQ(Values(data), SumOfX(0, count))
          << Name(DTypeOf<T>()) << " x " << count;
    }
  });
}

TEST_P(Conformance, AllReduceFindsTheLargestOfEveryDType) {
  ForEachDType([&]<typename T>(T) {
    for (int64_t count : CountsOfWholes()) {
      // Each rank is the largest somewhere, and all numbers are negative.
      const auto x = [&](int r, int64_t i) {
        return -1.0 - static_cast<double>((r + i) % size());
      };
      auto data = Fill<T>(count, [&](int64_t i) { return x(rank(), i); });
      EXPECT_TRUE(group().AllReduce(View(data), ReduceOp::kMax).ok());
      EXPECT_EQ(Values(data), (std::vector<double>(data.size(), -1.0)))
          << Name(DTypeOf<T>()) << " x " << count;
    }
  });
}

TEST_P(Conformance, TheLargestOfNumbersAndANaNIsNaN) {
  for (int nan_rank : {0, size() - 1}) {
    std::vector<float> data = {1.0f + static_cast<float>(rank())};
    if (rank() == nan_rank) data[0] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_TRUE(group().AllReduce(View(data), ReduceOp::kMax).ok());
    EXPECT_NE(data[0], data[0]);
  }
}

TEST_P(Conformance, ReduceScatterAddsEveryDType) {
  ForEachDType([&]<typename T>(T) {
    for (int64_t count : kCounts) {
      const auto sums = SumOfX(rank() * count, count);
      auto input =
          Fill<T>(count * size(), [&](int64_t i) { return X(rank(), i); });
      const auto original = Values(input);
      std::vector<T> output(static_cast<size_t>(count));
      EXPECT_TRUE(group().ReduceScatter(View(input), View(output)).ok());
      EXPECT_EQ(Values(output), sums);
      EXPECT_EQ(Values(input), original) << "the input is only read";

      const MemoryView own = View(input).Slice(rank() * count, count);
      EXPECT_TRUE(group().ReduceScatter(View(input), own).ok());
      const T* first = static_cast<const T*>(own.data);
      EXPECT_EQ(Values(std::vector<T>(first, first + count)), sums)
          << Name(DTypeOf<T>()) << " x " << count << " in place";
    }
  });
}

TEST_P(Conformance, AllGatherConcatenatesEveryDType) {
  ForEachDType([&]<typename T>(T) {
    for (int64_t count : kCounts) {
      const auto expected = Fill<double>(count * size(), [&](int64_t i) {
        return X(static_cast<int>(i / count), i % count);
      });
      auto input = Fill<T>(count, [&](int64_t i) { return X(rank(), i); });
      std::vector<T> output(expected.size());
      EXPECT_TRUE(group().AllGather(View(input), View(output)).ok());
      EXPECT_EQ(Values(output), expected)
          << Name(DTypeOf<T>()) << " x " << count;

      std::vector<T> in_place(expected.size());
      const MemoryView own = View(in_place).Slice(rank() * count, count);
      std::copy(input.begin(), input.end(), static_cast<T*>(own.data));
      EXPECT_TRUE(group().AllGather(own, View(in_place)).ok());
      EXPECT_EQ(Values(in_place), expected)
          << Name(DTypeOf<T>()) << " x " << count << " in place";
    }
  });
}

TEST_P(Conformance, BroadcastGivesTheRootsDataOfEveryDType) {
  ForEachDType([&]<typename T>(T) {
    for (int64_t count : CountsOfWholes()) {
      for (int root : {0, size() / 2, size() - 1}) {
        auto data = Fill<T>(count, [&](int64_t i) { return X(rank(), i); });
        EXPECT_TRUE(group().Broadcast(View(data), root).ok());
        EXPECT_EQ(Values(data),
                  (Fill<double>(count, [&](int64_t i) { return X(root, i); })))
            << Name(DTypeOf<T>()) << " x " << count << " from " << root;
      }
    }
  });
}

// Rows that rank `from` sends to rank `to`: none on every third pair, and
// none at all from rank 1.
int64_t RaggedCount(int from, int to, int64_t scale) {
  if (from == 1 || (from + to) % 3 == 0) return 0;
  return (2 * from + to + 1) * scale;
}

TEST_P(Conformance, AllToAllVDeliversRaggedRowsOfEveryDType) {
  ForEachDType([&]<typename T>(T) {
    for (int64_t scale : {1, 90, 1001}) {
      std::vector<int64_t> send_counts, receive_counts;
      std::vector<T> send;
      std::vector<double> expected;
      for (int other = 0; other < size(); ++other) {
        send_counts.push_back(RaggedCount(rank(), other, scale));
        receive_counts.push_back(RaggedCount(other, rank(), scale));
        for (int64_t i = 0; i < send_counts.back(); ++i)
          send.push_back(Cast<T>(X(rank(), i) + other));
        for (int64_t i = 0; i < receive_counts.back(); ++i)
          expected.push_back(X(other, i) + rank());
      }
      std::vector<T> receive(expected.size());
      EXPECT_TRUE(
          group()
              .AllToAllV(View(send), send_counts, View(receive), receive_counts)
              .ok());
      EXPECT_EQ(Values(receive), expected)
          << Name(DTypeOf<T>()) << " x " << scale;
    }
  });
}

TEST_P(Conformance, AllToAllVWithNothingToSendIsOrdinary) {
  const std::vector<int64_t> none(static_cast<size_t>(size()), 0);
  std::vector<float> receive = {5.0f};
  EXPECT_TRUE(
      group()
          .AllToAllV({nullptr, 0, DType::kFloat32}, none, View(receive), none)
          .ok());
  EXPECT_EQ(receive[0], 5.0f);
}

TEST_P(Conformance, AllToAllVCopiesItsCounts) {
  std::vector<int64_t> counts(static_cast<size_t>(size()), 1);
  auto send = Fill<int32_t>(
      size(), [&](int64_t other) { return 100 * rank() + other; });
  std::vector<int32_t> receive(send.size());
  auto work = group().StartAllToAllV(View(send), counts, View(receive), counts);
  ASSERT_TRUE(work.ok());
  std::fill(counts.begin(), counts.end(), -7);
  EXPECT_TRUE((*work)->Wait().ok());
  EXPECT_EQ(receive, (Fill<int32_t>(
                         size(), [&](int64_t r) { return 100 * r + rank(); })));
}

INSTANTIATE_TEST_SUITE_P(Groups, Conformance,
                         testing::ValuesIn(AllGroupKinds()), KindOfParam);

}  // namespace
}  // namespace moe
