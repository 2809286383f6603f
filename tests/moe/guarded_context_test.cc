// The device of tests keeps what it promises, so that a suite which passes on
// it has shown that nobody but kernels touches memory of a device.
#include "tests/guarded_context.h"

#include <memory>
#include <vector>

#include "comm/process_groups.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "moe/layers/arena.h"
#include "tests/guarded_group.h"
#include "tests/guarded_kernels.h"

namespace moe {
namespace {

class GuardedContextTest : public testing::Test {
 protected:
  Tensor Make(const std::vector<float>& values) {
    const auto size = static_cast<int64_t>(values.size());
    const Tensor x = memory_.Allocate({size}, DType::kFloat32).value();
    context_.Upload(x.raw(), values.data(), Bytes(x));
    return x;
  }
  static int64_t Bytes(const Tensor& x) { return x.size() * SizeOf(x.dtype()); }
  std::vector<float> Read(const Tensor& x) {
    std::vector<float> values(static_cast<size_t>(x.size()));
    context_.Download(values.data(), x.raw(), Bytes(x));
    EXPECT_TRUE(context_.Synchronize().ok());
    return values;
  }

  GuardedContext& context_ = GuardedContext::Get();
  std::unique_ptr<Kernels> kernels_ = MakeGuardedKernels(1, context_);
  Arena memory_{context_};
};

using GuardedContextDeathTest = GuardedContextTest;

TEST_F(GuardedContextDeathTest, HostCodeThatTouchesTheDeviceEnds) {
  const Tensor x = Make({1, 2, 3});
  EXPECT_DEATH(x.data<float>()[1] = 4, "touched memory of the device");
  EXPECT_DEATH(EXPECT_EQ(x.data<float>()[1], 2),
               "touched memory of the device");
}

TEST_F(GuardedContextDeathTest, SoDoesWhatAKernelCallsBack) {
  const Tensor x = Make({1, 2, 3});
  const Tensor a = memory_.Allocate({64, 64}, DType::kFloat32).value();
  const Tensor b = memory_.Allocate({64, 64}, DType::kFloat32).value();
  kernels_->SetZero(a);
  EXPECT_DEATH(
      {
        const ProgressScope touch(*kernels_, [&] { x.data<float>()[0] = 1; });
        kernels_->LinearWeightGradient(b, a, a);
      },
      "touched memory of the device");
}

TEST_F(GuardedContextTest, KernelsWorkAndCopiesArrive) {
  const Tensor x = Make({1, 2, 3});
  kernels_->Add(x, Make({10, 20, 30}));
  EXPECT_THAT(Read(x), testing::ElementsAre(11, 22, 33));
}

TEST_F(GuardedContextTest, ADownloadIsThereAfterSynchronizeOnly) {
  const Tensor x = Make({1, 2, 3});
  std::vector<float> values(3);
  context_.Download(values.data(), x.raw(), Bytes(x));
  kernels_->SetZero(x);  // comes later
  EXPECT_THAT(values, testing::Not(testing::Contains(2)));
  ASSERT_TRUE(context_.Synchronize().ok());
  EXPECT_THAT(values, testing::ElementsAre(1, 2, 3));
}

TEST_F(GuardedContextTest, AHostCopyIsThereAfterItsWaitOnly) {
  const Tensor x = Make({1, 2, 3});
  absl::StatusOr<HostCopy> copy = context_.StartCopy(x.View());
  ASSERT_TRUE(copy.ok());
  ASSERT_TRUE(copy->Wait().ok());
  ASSERT_TRUE(copy->Wait().ok());  // does nothing
  EXPECT_THAT(copy->values<float>(), testing::ElementsAre(1, 2, 3));
}

TEST_F(GuardedContextTest, NewMemoryHoldsNothingToRelyOn) {
  const Tensor x = memory_.Allocate({2}, DType::kFloat32).value();
  EXPECT_THAT(Read(x), testing::Each(testing::Lt(0)));
  const Buffer zeros = context_.Allocate(8).value();
  EXPECT_THAT(Read(Tensor(zeros.data(), {2}, DType::kFloat32)),
              testing::Each(0));
}

TEST_F(GuardedContextTest, MemoryThatIsGivenBackIsUsedAgain) {
  constexpr int64_t kBytes = 1 << 20;
  void* place = nullptr;
  for (int i = 0; i < 100; ++i) {
    const Buffer first = context_.Allocate(kBytes).value();
    const Buffer second = context_.Allocate(3 * kBytes).value();
    if (i == 0) continue;  // grows by what finds no gap
    if (i == 1) place = first.data();
    EXPECT_EQ(first.data(), place);
  }
}

TEST_F(GuardedContextTest, WhatACollectiveYieldsIsThereAfterItsWaitOnly) {
  ProcessGroups groups = ProcessGroups::CreateSingle();
  GuardDeviceGroups(groups, context_);
  ProcessGroup& group = groups.device(Axis::kData);
  EXPECT_NE(&group, &groups[Axis::kData]);
  const Tensor x = Make({1, 2});
  const Tensor y = Make({0, 0});
  absl::StatusOr<std::unique_ptr<Work>> work =
      group.StartAllGather(x.View(), y.View());
  ASSERT_TRUE(work.ok());
  EXPECT_THAT(Read(y), testing::Each(testing::Lt(0)));  // kGuardedPoison
  ASSERT_TRUE((*work)->Wait().ok());
  EXPECT_THAT(Read(y), testing::ElementsAre(1, 2));
  EXPECT_EQ(group.traffic().calls, groups[Axis::kData].traffic().calls);
}

}  // namespace
}  // namespace moe
