// The formulas of traffic.h against what groups of 1 to 16 ranks count.

#include "comm/traffic.h"

#include <gtest/gtest.h>

#include <vector>

#include "absl/functional/function_ref.h"
#include "comm/plan_group.h"
#include "tests/comm/group_fixture.h"

namespace moe {
namespace {

class TrafficTest : public GroupTest {
 protected:
  GroupPlace place() const { return {size(), rank()}; }

  // Bytes that this rank sends while `operation`, one call, is carried out.
  int64_t SentBy(absl::FunctionRef<absl::Status()> operation) {
    const TrafficCounters before = group().traffic();
    const absl::Status status = operation();
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(group().traffic().calls - before.calls, 1);
    return group().traffic().sent_bytes - before.sent_bytes;
  }
};

// Around 4096 bytes, where the algorithm changes, odd ones, and few for many
// ranks.
template <typename T>
std::vector<int64_t> CountsAroundTheChange() {
  const int64_t change = 4096 / SizeOf(DTypeOf<T>());
  return {0, 1, 5, 33, change - 1, change, change + 1, 7001};
}

TEST_P(TrafficTest, AllReduceIsForeseen) {
  ForEachDType([&]<typename T>(T) {
    for (int64_t count : CountsAroundTheChange<T>()) {
      std::vector<T> data(static_cast<size_t>(count));
      EXPECT_EQ(
          SentBy([&] { return group().AllReduce(View(data), ReduceOp::kSum); }),
          AllReduceBytes(place(), count, DTypeOf<T>()))
          << Name(DTypeOf<T>()) << " x " << count;
    }
  });
}

TEST_P(TrafficTest, ReduceScatterAndAllGatherAreForeseen) {
  ForEachDType([&]<typename T>(T) {
    for (int64_t count : CountsAroundTheChange<T>()) {
      std::vector<T> piece(static_cast<size_t>(count));
      std::vector<T> whole(static_cast<size_t>(size() * count));
      EXPECT_EQ(SentBy([&] {
                  return group().ReduceScatter(View(whole), View(piece));
                }),
                ReduceScatterBytes(place(), count, DTypeOf<T>()));
      EXPECT_EQ(
          SentBy([&] { return group().AllGather(View(piece), View(whole)); }),
          AllGatherBytes(place(), count, DTypeOf<T>()));
    }
  });
}

TEST_P(TrafficTest, BroadcastIsForeseenAtRootAndOthers) {
  ForEachDType([&]<typename T>(T) {
    for (int64_t count : CountsAroundTheChange<T>()) {
      for (int root : {0, size() / 2, size() - 1}) {
        std::vector<T> data(static_cast<size_t>(count));
        EXPECT_EQ(SentBy([&] { return group().Broadcast(View(data), root); }),
                  BroadcastBytes(place(), root, count, DTypeOf<T>()))
            << Name(DTypeOf<T>()) << " x " << count << " from " << root;
      }
    }
  });
}

TEST_P(TrafficTest, AllToAllVIsForeseen) {
  // (3 f + t) mod 5 hundred rows from rank f to rank t.
  const auto rows = [](int from, int to) {
    return int64_t{(3 * from + to) % 5 * 100};
  };
  std::vector<int64_t> send_counts, receive_counts;
  int64_t sent = 0, received = 0;
  for (int other = 0; other < size(); ++other) {
    send_counts.push_back(rows(rank(), other));
    receive_counts.push_back(rows(other, rank()));
    sent += send_counts.back();
    received += receive_counts.back();
  }
  ForEachDType([&]<typename T>(T) {
    std::vector<T> send(static_cast<size_t>(sent));
    std::vector<T> receive(static_cast<size_t>(received));
    EXPECT_EQ(SentBy([&] {
                return group().AllToAllV(View(send), send_counts, View(receive),
                                         receive_counts);
              }),
              AllToAllVBytes(place(), send_counts, DTypeOf<T>()));
  });
}

TEST_P(TrafficTest, ABarrierSendsNothingOfOurs) {
  EXPECT_EQ(SentBy([&] { return group().Barrier(); }), 0);
}

// Of a collective of each kind, small and large.
TEST_P(TrafficTest, AGroupOfAPlanCountsTheSame) {
  PlanGroup plan("planned", place());
  EXPECT_EQ(plan.rank(), rank());
  EXPECT_EQ(plan.size(), size());
  const TrafficCounters before = group().traffic();
  for (ProcessGroup* each : {&group(), static_cast<ProcessGroup*>(&plan)}) {
    for (int64_t count : CountsAroundTheChange<float>()) {
      std::vector<float> piece(static_cast<size_t>(count));
      std::vector<float> whole(static_cast<size_t>(size() * count));
      const std::vector<int64_t> counts(static_cast<size_t>(size()), count);
      std::vector<float> received(whole.size());
      EXPECT_TRUE(each->AllReduce(View(piece), ReduceOp::kSum).ok());
      EXPECT_TRUE(each->ReduceScatter(View(whole), View(piece)).ok());
      EXPECT_TRUE(each->AllGather(View(piece), View(whole)).ok());
      EXPECT_TRUE(each->Broadcast(View(piece), size() - 1).ok());
      EXPECT_TRUE(
          each->AllToAllV(View(whole), counts, View(received), counts).ok());
      EXPECT_TRUE(each->Barrier().ok());
    }
  }
  EXPECT_EQ(plan.traffic().calls, group().traffic().calls - before.calls);
  EXPECT_EQ(plan.traffic().sent_bytes,
            group().traffic().sent_bytes - before.sent_bytes);
}

INSTANTIATE_TEST_SUITE_P(Groups, TrafficTest,
                         testing::ValuesIn(AllGroupKinds()), KindOfParam);

// By hand, so that formula and counter cannot be wrong alike.
TEST(Traffic, IsWhatTheAlgorithmsSay) {
  constexpr DType kF32 = DType::kFloat32;
  EXPECT_EQ(AllReduceBytes({4, 1}, 1024, kF32), 3 * 4096);
  // 1025 elements in pieces of 256, 256, 256 and 257.
  EXPECT_EQ(AllReduceBytes({4, 0}, 1025, kF32), (769 + 3 * 256) * 4);
  EXPECT_EQ(AllReduceBytes({4, 3}, 1025, kF32), (768 + 3 * 257) * 4);
  EXPECT_EQ(ReduceScatterBytes({4, 3}, 10, kF32), 3 * 40);
  EXPECT_EQ(AllGatherBytes({4, 3}, 10, DType::kBFloat16), 3 * 20);
  EXPECT_EQ(BroadcastBytes({4, 2}, 2, 1024, kF32), 3 * 4096);
  EXPECT_EQ(BroadcastBytes({4, 1}, 2, 1024, kF32), 0);
  EXPECT_EQ(BroadcastBytes({2, 0}, 0, 4000, kF32), 16000);
  EXPECT_EQ(BroadcastBytes({4, 2}, 2, 1025, kF32), (769 + 3 * 256) * 4);
  EXPECT_EQ(BroadcastBytes({4, 3}, 2, 1025, kF32), 2 * 257 * 4);
  EXPECT_EQ(AllToAllVBytes({3, 1}, {5, 6, 7}, DType::kInt64), 12 * 8);
  EXPECT_EQ(AllReduceBytes({1, 0}, 9999, kF32), 0);
  // Beyond 32 bits of elements and of bytes.
  EXPECT_EQ(AllGatherBytes({2, 0}, (int64_t{1} << 31) + 1, DType::kFloat64),
            (int64_t{1} << 34) + 8);
}

}  // namespace
}  // namespace moe
