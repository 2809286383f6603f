// Collectives of more than 2^31 elements of bfloat16, more than 2^32 bytes, for
// real, between two ranks. Every element is checked. The numbers repeat after
// 97 elements, so that an index that lost its upper bits finds a wrong one.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "comm/base/buffer.h"
#include "comm/mpi/mpi_group.h"
#include "tests/mpi_test.h"

namespace moe {
namespace {

constexpr int64_t k2To31 = int64_t{1} << 31;
constexpr int64_t kPeriod = 97;
// A whole number of periods.
constexpr int64_t kBlock = 1024 * kPeriod;

// What the largest test holds on both ranks together, with room to spare.
constexpr int64_t kNeededBytes = int64_t{14'500'000'000};

// Element i of `rank`, or of both ranks' sum.
int64_t X(int rank, int64_t i) { return i % kPeriod + 3 * rank; }
int64_t SumOfX(int64_t i) { return X(0, i) + X(1, i); }

// MemAvailable of this machine, and what its control group leaves of it (v2,
// v1); the smaller.
int64_t AvailableBytes() {
  const auto number = [](const char* path, const char* format) {
    int64_t found = -1;
    std::FILE* file = std::fopen(path, "r");
    if (file == nullptr) return found;
    char line[256];
    long long value = 0;
    while (found < 0 && std::fgets(line, sizeof(line), file) != nullptr)
      if (std::sscanf(line, format, &value) == 1) found = value;
    std::fclose(file);
    return found;
  };
  int64_t available = number("/proc/meminfo", "MemAvailable: %lld kB") * 1024;
  constexpr const char* kGroups[][2] = {
      {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"},
      {"/sys/fs/cgroup/memory/memory.limit_in_bytes",
       "/sys/fs/cgroup/memory/memory.usage_in_bytes"}};
  for (const auto& [limit_path, usage_path] : kGroups) {
    const int64_t limit = number(limit_path, "%lld");
    const int64_t usage = number(usage_path, "%lld");
    if (limit >= 0 && usage >= 0)
      available = std::min(available, limit - usage);
  }
  return available;
}

// Elements of bfloat16.
class Elements {
 public:
  explicit Elements(int64_t count) : count_(count) {
    absl::StatusOr<Buffer> buffer =
        Buffer::Allocate(count * SizeOf(DType::kBFloat16));
    EXPECT_TRUE(buffer.ok()) << buffer.status();
    if (buffer.ok()) buffer_ = *std::move(buffer);
  }
  MemoryView View() const { return {buffer_.data(), count_, DType::kBFloat16}; }

 private:
  Buffer buffer_;
  int64_t count_;
};

// view[i] = x(first + i), x of period 97.
template <typename Function>
std::vector<BFloat16> Pattern(int64_t first, Function x) {
  std::vector<BFloat16> pattern;
  for (int64_t i = 0; i < kBlock; ++i)
    pattern.push_back(ToBFloat16(static_cast<float>(x(first + i))));
  return pattern;
}

template <typename Function>
void Fill(const MemoryView& view, int64_t first, Function x) {
  const std::vector<BFloat16> pattern = Pattern(first, x);
  for (int64_t begin = 0; begin < view.count; begin += kBlock) {
    const MemoryView part =
        view.Slice(begin, std::min(kBlock, view.count - begin));
    std::memcpy(part.data, pattern.data(),
                static_cast<size_t>(part.count * SizeOf(part.dtype)));
  }
}

template <typename Function>
void ExpectFilled(const MemoryView& view, int64_t first, Function x) {
  const std::vector<BFloat16> pattern = Pattern(first, x);
  for (int64_t begin = 0; begin < view.count; begin += kBlock) {
    const MemoryView part =
        view.Slice(begin, std::min(kBlock, view.count - begin));
    if (std::memcmp(part.data, pattern.data(),
                    static_cast<size_t>(part.count * SizeOf(part.dtype))) == 0)
      continue;
    const auto* elements = static_cast<const BFloat16*>(part.data);
    for (int64_t i = 0; i < part.count; ++i) {
      ASSERT_EQ(ToFloat(elements[i]), static_cast<float>(x(first + begin + i)))
          << "element " << first + begin + i;
    }
  }
}

class LargeMessages : public testing::Test {
 protected:
  void SetUp() override {
    if (TestRuntime().world() != 2) GTEST_SKIP() << "needs 2 ranks";
    group_ =
        *MakeMpiGroup(TestRuntime().progress(), "world", {0, 1}, /*tag=*/0);
    int64_t available = AvailableBytes();
    EXPECT_TRUE(
        group_->Broadcast(ViewOf(absl::MakeSpan(&available, 1)), 0).ok());
    if (available < kNeededBytes)
      GTEST_SKIP() << "needs " << kNeededBytes << " bytes of free memory, "
                   << available << " are available";
  }
  void TearDown() override {
    if (group_ == nullptr) return;
    EXPECT_TRUE(group_->Barrier().ok());
  }

  int rank() const { return group_->rank(); }

  // Takes the time of `operation`.
  template <typename Operation>
  void Run(const char* what, int64_t count, Operation operation) {
    EXPECT_TRUE(group_->Barrier().ok());
    const absl::Time begin = absl::Now();
    const absl::Status status = operation();
    EXPECT_TRUE(status.ok()) << status;
    if (rank() == 0)
      std::cout << what << " of " << count << " elements of bfloat16: "
                << absl::FormatDuration(absl::Now() - begin) << std::endl;
  }

  std::unique_ptr<ProcessGroup> group_;
};

TEST_F(LargeMessages, BroadcastOfMoreThan2To31Elements) {
  const Elements data(k2To31 + 1001);
  if (rank() == 0) Fill(data.View(), 0, [](int64_t i) { return X(0, i); });
  Run("broadcast", data.View().count,
      [&] { return group_->Broadcast(data.View(), 0); });
  ExpectFilled(data.View(), 0, [](int64_t i) { return X(0, i); });
}

TEST_F(LargeMessages, AllGatherOfMoreThan2To31Elements) {
  const int64_t count = k2To31 / 2 + 501;
  const Elements output(2 * count);
  const MemoryView own = output.View().Slice(rank() * count, count);
  Fill(own, 0, [&](int64_t i) { return X(rank(), i); });
  Run("all-gather", 2 * count,
      [&] { return group_->AllGather(own, output.View()); });
  for (int source : {0, 1})
    ExpectFilled(output.View().Slice(source * count, count), 0,
                 [&](int64_t i) { return X(source, i); });
}

TEST_F(LargeMessages, ReduceScatterOfMoreThan2To31Elements) {
  const int64_t count = k2To31 / 2 + 501;
  const Elements input(2 * count);
  Fill(input.View(), 0, [&](int64_t i) { return X(rank(), i); });
  const MemoryView own = input.View().Slice(rank() * count, count);
  Run("reduce-scatter", 2 * count,
      [&] { return group_->ReduceScatter(input.View(), own); });
  ExpectFilled(own, rank() * count, SumOfX);
  ExpectFilled(input.View().Slice((1 - rank()) * count, count),
               (1 - rank()) * count, [&](int64_t i) { return X(rank(), i); });
}

TEST_F(LargeMessages, AllReduceOfMoreThan2To31Elements) {
  const Elements data(k2To31 + 1001);
  Fill(data.View(), 0, [&](int64_t i) { return X(rank(), i); });
  Run("all-reduce", data.View().count,
      [&] { return group_->AllReduce(data.View(), ReduceOp::kSum); });
  ExpectFilled(data.View(), 0, SumOfX);
}

// Rank 0 sends nearly all of its rows; rank 1 keeps its few, which then lie
// behind the others'.
TEST_F(LargeMessages, AllToAllVOfMoreThan2To31Elements) {
  const int64_t many = k2To31 + 1001;
  constexpr int64_t kFew = 7;
  const int64_t counts[2][2] = {{kFew, many}, {2 * kFew, 3 * kFew}};
  const Elements send(counts[rank()][0] + counts[rank()][1]);
  const Elements receive(counts[0][rank()] + counts[1][rank()]);
  Fill(send.View(), 0, [&](int64_t i) { return X(rank(), i); });
  Run("all-to-all-v", many, [&] {
    return group_->AllToAllV(
        send.View(), {counts[rank()][0], counts[rank()][1]}, receive.View(),
        {counts[0][rank()], counts[1][rank()]});
  });
  int64_t begin = 0;
  for (int source : {0, 1}) {
    const int64_t count = counts[source][rank()];
    ExpectFilled(receive.View().Slice(begin, count),
                 rank() == 0 ? 0 : counts[source][0],
                 [&](int64_t i) { return X(source, i); });
    begin += count;
  }
}

}  // namespace
}  // namespace moe
